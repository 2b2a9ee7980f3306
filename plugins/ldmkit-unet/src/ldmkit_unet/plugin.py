"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """The time-conditional UNet with cross-attention."""
    registry.add("denoiser", "unet", "ldmkit_unet.unet:UNet", "Time-conditional UNet with cross-attention.")
    registry.add("keymap", "compvis/unet", "ldmkit_unet.compvis:CompVisUNet", "UNetModel of single files.")
    registry.add(
        "keymap",
        "diffusers/unet",
        "ldmkit_unet.diffusers:DiffusersUNet",
        "UNet2DConditionModel and UNet2DModel of Hugging Face folders.",
    )
