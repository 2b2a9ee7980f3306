"""Plugins that are one file each, in a folder that the command line names. Imports no torch by itself."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

from ldmkit.errors import UserError
from ldmkit.hookspecs import GROUP

_folders: list[Path] = []
"""The folders in use."""


class LooseFile(EntryPoint):
    """A file in the place of an installed distribution's entry point; its value is its path."""

    def load(self) -> ModuleType:
        """The file's module, named as the file is.

        Raises ValueError where a module of that name is there already.
        """
        path = Path(self.value).resolve()
        spec = importlib.util.find_spec(self.name)
        if spec is None or spec.origin != str(path):
            raise ValueError(f"a module '{self.name}' is there already: give the file another name")
        return importlib.import_module(self.name)


@contextmanager
def used(folders: Sequence[Path]) -> Iterator[None]:
    """A context in which the files of these folders are plugins as well.

    Files whose names begin with "_" are not plugins, but others may import them. The folders stand last on
    `sys.path`, so that no file hides an installed module. Raises UserError for a folder without plugins.
    """
    before, path = list(_folders), list(sys.path)
    for folder in folders:
        if not _files(folder):
            raise UserError(f"{folder} holds no plugin (a file NAME.py); see docs/plugins.md")
    _folders.extend(folders)
    sys.path.extend(str(folder.resolve()) for folder in folders)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        _folders[:], sys.path[:] = before, path


def loose_files() -> list[EntryPoint]:
    """The plugins of the folders in use, in the order of their names."""
    return [LooseFile(file.stem, str(file), GROUP) for folder in _folders for file in _files(folder)]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
