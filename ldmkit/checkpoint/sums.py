"""sha256 of files, remembered with their sizes and times, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ldmkit import disk

NAME = "sums.json"


def sha256(path: Path) -> str:
    """The file's digest, in hexadecimal. Raises DiskError."""
    with disk.explained(path, "read"), disk.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_once(path: Path) -> str:
    """The same, of a file that is read once a process while its size and time stay as they are."""
    return _sha256_of(path.absolute(), *_stamp(path))


@lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    return sha256(path)


class Sums:
    """The digests of files of one folder and elsewhere, kept in the folder's `sums.json`.

    A memory alone: where it cannot be written, or is damaged, files are read again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def of(self, path: Path) -> str:
        """The digest of a file: read where its size or time is not the one remembered."""
        remembered = self._read().get(str(path.absolute()))
        if remembered and remembered[:2] == _stamp(path):
            return str(remembered[2])
        return self.remember(path)

    def is_unchanged(self, path: Path) -> bool:
        """Whether a file is unchanged since it was recorded; True for one that was not recorded."""
        remembered = self._read().get(str(path.absolute()))
        return remembered is None or remembered[:2] == _stamp(path) or sha256(path) == remembered[2]

    def remember(self, path: Path) -> str:
        """Reads a file and keeps its digest."""
        digest = sha256(path)
        with suppress(disk.DiskError):
            known = {p: s for p, s in self._read().items() if Path(p).exists()}
            disk.write_json(self._path, {**known, str(path.absolute()): [*_stamp(path), digest]})
        return digest

    def _read(self) -> dict[str, list[int | str]]:
        try:
            read = json.loads(disk.read_text(self._path))
        except (OSError, ValueError, RecursionError):
            return {}
        entries = read.items() if isinstance(read, dict) else ()
        return {path: entry for path, entry in entries if isinstance(entry, list) and len(entry) == 3}


def _stamp(path: Path) -> list[int]:
    """Its size, and when it last changed."""
    with disk.explained(path, "read"):
        status = path.stat()
    return [status.st_size, disk.changed_at(status)]
