"""ldmkit: latent diffusion models from recipes and plugins."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldmkit.engine.opening import build
    from ldmkit.engine.system import System
    from ldmkit.recipe import complete as load

__version__ = "0.1.0"
__all__ = ["System", "build", "load"]
_HOME = {"System": "engine.system:System", "build": "engine.opening:build", "load": "recipe:complete"}


def __getattr__(name: str) -> Any:
    """The public names on first use: importing ldmkit imports no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'ldmkit' has no attribute '{name}'")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(f"ldmkit.{module}"), attribute)


def __dir__() -> list[str]:
    """What this module offers."""
    return [*__all__, "__version__"]
