"""What this distribution registers; imports neither torch nor gradio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldmkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from ldmkit.hookspecs import Registrar

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """The verb `ldmkit serve`."""
    registry.add("verb", "serve", "ldmkit_serve.command:command", "Try a recipe on a page in the browser.")
