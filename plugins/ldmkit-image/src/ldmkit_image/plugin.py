"""What this distribution registers; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from ldmkit.host.registry import Registrar

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
