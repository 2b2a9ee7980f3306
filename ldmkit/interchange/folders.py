"""A new folder, written atomically."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ldmkit import disk
from ldmkit.errors import UserError


def check_vacant(out: Path) -> None:
    """UserError where `out` is anything but absent or an empty folder."""
    with disk.explained(out, "written"):
        vacant = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not vacant:
        raise UserError(f"{out} exists and is not empty: choose another folder")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `out` when the block has succeeded, and is gone when it has not."""
    check_vacant(out)
    out = out.absolute()
    nearest = next(folder for folder in out.parents if folder.is_dir())
    with (
        disk.explained(out, "written"),
        tempfile.TemporaryDirectory(prefix=disk.ASIDE, dir=nearest) as temporary,
    ):
        inside = Path(temporary) / "model"
        inside.mkdir()
        yield inside
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(inside, out)
        disk.sync(out.parent)
