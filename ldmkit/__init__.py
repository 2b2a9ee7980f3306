"""ldmkit: latent diffusion models from recipes and plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldmkit.engine.system import System, build

__version__ = "0.1.0"
__all__ = ["System", "build"]


def __getattr__(name: str) -> Any:
    """`build` and `System` on first use: importing ldmkit imports no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'ldmkit' has no attribute '{name}'")
    from ldmkit.engine import system

    return getattr(system, name)
