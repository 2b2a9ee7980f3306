"""ldmkit: latent diffusion models from recipes and plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldmkit.engine.opening import build
    from ldmkit.engine.system import System

__version__ = "0.1.0"
__all__ = ["System", "build"]


def __getattr__(name: str) -> Any:
    """`build` and `System` on first use: importing ldmkit imports no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'ldmkit' has no attribute '{name}'")
    from ldmkit.engine import opening, system

    return getattr(opening if name == "build" else system, name)


def __dir__() -> list[str]:
    """What this module offers."""
    return [*__all__, "__version__"]
