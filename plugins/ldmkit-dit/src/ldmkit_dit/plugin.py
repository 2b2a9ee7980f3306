"""What this distribution registers; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from ldmkit.host.registry import Registrar

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """The diffusion transformer."""
    registry.add("denoiser", "dit", "ldmkit_dit.dit:DiT", "Diffusion transformer with adaptive layer norm")
