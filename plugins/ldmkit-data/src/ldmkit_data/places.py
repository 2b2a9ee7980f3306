"""Paths of a folder's files; links must not lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize

from ldmkit.pictures import shown


class Places:
    """The files below one folder, by their paths from it."""

    def __init__(self, root: Path) -> None:
        self._root, self._real = root, os.path.realpath(root)
        self._folder = lru_cache(maxsize=None)(os.path.realpath)
        self._spellings = lru_cache(maxsize=None)(self._listed)

    def actual(self, name: str) -> str:
        """The path as the files themselves are called: a Mac writes "é" as two characters where others write
        one. As it is where there is no such file."""
        if name.isascii() or os.path.lexists(self._root / name):
            return name
        folder, slash, file = name.rpartition("/")
        above = self.actual(folder) if folder else folder
        return f"{above}{slash}{self._spellings(above).get(normalize('NFC', file), file)}"

    def problem(self, name: str) -> str | None:
        """Why the file cannot be used: missing, no file, outside the folder; None where it can."""
        path = self._root / name
        try:
            if not self.holds(path):
                what = "a link that leads" if os.path.islink(path) else "leads"
                return f"{shown(path)}: {what} out of the folder"
            if not stat.S_ISREG(os.stat(path).st_mode):
                return f"{shown(path)}: not a file"
        except (OSError, ValueError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
            return f"{shown(path)}: {reason}"
        return None

    def holds(self, path: Path) -> bool:
        """Whether the file, with links resolved, lies in the folder."""
        folder = self._folder(str(path.parent))
        if not self._inside(folder):
            return False
        return not path.is_symlink() or self._inside(os.path.realpath(path))

    def _listed(self, folder: str) -> Mapping[str, str]:
        """The names in a folder, by their composed Unicode form."""
        try:
            return {normalize("NFC", name): name for name in os.listdir(self._root / folder)}
        except (OSError, ValueError):
            return {}

    def _inside(self, path: str) -> bool:
        return path == self._real or path.startswith(self._real.rstrip(os.sep) + os.sep)
