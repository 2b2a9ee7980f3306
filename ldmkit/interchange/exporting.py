"""`ldmkit export`: a trained or imported model in a published format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interchange import compvis_export, folder_export
from ldmkit.interchange.folders import check_vacant, new_folder

FORMATS: Mapping[str, Callable[[System, Path], None]] = {
    "compvis": compvis_export.write,
    "diffusers": folder_export.write,
}
"""What `export` can write."""


def export_model(system: System, out: Path, style: str) -> None:
    """Writes the system to the new folder `out`: "compvis" (model.ckpt and config.yaml) or "diffusers".

    Raises UserError, and writes nothing, where the format cannot hold the model or `out` is not empty.
    """
    if style not in FORMATS:
        raise UserError(f"unknown format '{style}': {', '.join(FORMATS)}")
    check_vacant(out)
    with new_folder(out) as made:
        FORMATS[style](system, made)
