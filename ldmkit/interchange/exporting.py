"""`ldmkit export`: a trained or imported model in a published format."""

from __future__ import annotations

from pathlib import Path

from ldmkit.engine.system import System
from ldmkit.errors import UserError, did_you_mean
from ldmkit.interchange.folders import check_vacant, new_folder
from ldmkit.interchange.model import format_of


def export_model(system: System, out: Path, style: str) -> list[str]:
    """Writes the system to the new folder `out` in the format `style`; a line for what it holds otherwise.

    Raises UserError, and writes nothing, where the format cannot hold the model or `out` is not empty.
    """
    names = system.registry.names("format")
    if style not in names:
        raise UserError(f"unknown format '{style}': {', '.join(names)}{did_you_mean(style, names)}")
    check_vacant(out)
    format = format_of(system.registry, style)
    with new_folder(out) as folder:
        return [*(format.write(system, folder) or ())]
