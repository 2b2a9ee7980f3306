"""A new folder that is whole or not there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldmkit.checkpoint import files
from ldmkit.errors import UserError


def check_vacant(out: Path) -> None:
    """UserError where `out` is anything but absent or an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty: choose another folder")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `out` when the block has succeeded, and is gone when it has not."""
    check_vacant(out)
    out = out.absolute()
    nearest = next(folder for folder in out.parents if folder.is_dir())
    try:
        aside = tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=nearest)
    except OSError as error:
        raise UserError(f"{nearest}: cannot be written to ({error.strerror})") from error
    with aside as temporary:
        made = Path(temporary) / "model"
        made.mkdir()
        yield made
        out.parent.mkdir(parents=True, exist_ok=True)
        files.replace(made, out)
