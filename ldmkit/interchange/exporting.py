"""`ldmkit export`: a trained or imported model in a published format."""

from __future__ import annotations

from pathlib import Path

from ldmkit.engine.adapters import merged
from ldmkit.engine.system import System
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Registry
from ldmkit.interchange.folders import check_vacant, new_folder
from ldmkit.interchange.model import format_of


def export_model(system: System, out: Path, format: str) -> list[str]:
    """Writes the system to the new folder `out` in a format by its name; a line for what it holds otherwise.

    Its adapters become part of the weights, in the system itself too: formats have no place for them. Raises
    UserError, and writes nothing, where the format cannot hold the model or `out` is not empty.
    """
    check_export(system.registry, out, format)
    writer = format_of(system.registry, format)
    with new_folder(out) as folder:
        return [*merged(system), *(writer.write(system, folder) or ())]


def check_export(registry: Registry, out: Path, format: str) -> None:
    """UserError for a format that there is not, and where `out` is not empty."""
    names = registry.names("format")
    if format not in names:
        raise UserError(f"unknown format '{format}': {', '.join(names)}{did_you_mean(format, names)}")
    check_vacant(out)
