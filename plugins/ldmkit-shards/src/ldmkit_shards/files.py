"""Files of a data set by size, time and digest, and a cache for what follows from their content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ldmkit.disk import DiskError, atomic, cache_folder, explained
from ldmkit.errors import UserError
from ldmkit.pictures import shown

VERSION = 2


class State(NamedTuple):
    """What a file's system says of it. size: in bytes. time: of the last change, in ns."""

    size: int
    time: int


def state_of(path: Path) -> State:
    """The state of a file. Raises DiskError where there is none."""
    with explained(path, "read"):
        status = path.stat()
    return State(status.st_size, status.st_mtime_ns)


def read_at(path: Path, state: State, offset: int, size: int) -> bytes:
    """`size` bytes of a file from `offset` on. Raises UserError where the file is no longer in that state."""
    with explained(path, "read"), path.open("rb") as file:
        status = os.fstat(file.fileno())
        if State(status.st_size, status.st_mtime_ns) != state:
            raise UserError(
                f"{shown(path)}: changed since this run opened it; start again to read the new one"
            )
        file.seek(offset)
        return file.read(size)


def content_of(path: Path) -> str:
    """The sha256 of a file."""
    with explained(path, "read"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached(key: str, compute: Callable[[], Any]) -> Any:
    """The JSON value of a key out of the cache folder, or else computed and written there.

    A value that cannot be read is computed again, and one that cannot be written is returned all the same.
    """
    file = cache_folder() / "shards" / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        kept = json.loads(file.read_bytes())
        if kept["version"] == VERSION and kept["key"] == key.encode(errors="replace").decode():
            return kept["value"]
    value = compute()
    content = {"version": VERSION, "key": key.encode(errors="replace").decode(), "value": value}
    with suppress(DiskError), atomic(file) as aside:
        aside.write_text(json.dumps(content), encoding="utf-8")
    return value


def of_file(path: Path, state: State, what: str, compute: Callable[[], Any]) -> Any:
    """As `cached`, for a value that follows from a file's content; `what` tells values of one file apart."""
    return cached(f"{what} {os.path.realpath(path)} {state.size} {state.time}", compute)
