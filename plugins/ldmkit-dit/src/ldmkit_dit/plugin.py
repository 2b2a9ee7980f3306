"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """The diffusion transformer."""
    registry.add("denoiser", "dit", "ldmkit_dit.dit:DiT", "Diffusion transformer with adaptive layer norm.")
    registry.add(
        "keymap", "diffusers/dit", "ldmkit_dit.diffusers:DiffusersDiT", "DiTTransformer2DModel of folders."
    )
