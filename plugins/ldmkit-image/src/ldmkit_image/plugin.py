"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 1

COMPONENTS = (
    ("low-res", "low_res:LowRes", "The low-resolution picture itself, joined to the latent."),
    ("masked-image", "masked:MaskedImage", "The masked picture's latent and the mask, joined to the latent."),
)


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Low-resolution and masked-image concatenation."""
    for name, target, summary in COMPONENTS:
        registry.add("conditioner", name, f"ldmkit_image.{target}", summary)
