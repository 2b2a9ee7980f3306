"""A cached index of a folder's files: size, time, content digest, dimensions; no pixels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import UInt8

from ldmkit.disk import DiskError, atomic, cache_folder, changed_at
from ldmkit.pictures import PictureError, decode, shown, upright_size

VERSION = 2
BLOCK = 16 * 1024
"""Bytes; of a file larger than four of these only the first, the middle and the last one are digested."""
READERS = 8
AT_ONCE = 4096
"""Files that wait for a reader at once."""


class Entry(NamedTuple):
    """One file as it was when it was looked at.

    size: bytes; time: of the last change, in ns; content: a digest; problem: why it is no picture of ours;
    decoded: all of it was read once, not its header alone.
    """

    size: int
    time: int
    content: str = ""
    width: int = 0
    height: int = 0
    problem: str | None = None
    decoded: bool = False


class Index:
    """The files of the folder `root` that were asked for, by their paths from it.

    Kept as one file in the user's cache folder (LDMKIT_CACHE, else XDG_CACHE_HOME/ldmkit, else
    ~/.cache/ldmkit), which may be deleted at any time; without a place to write, nothing is kept.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._prefix = root, os.path.join(root, "")
        name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:24]
        self._file = cache_folder() / "folders" / f"{name}.npz"
        self._known = _load(self._file)

    def look(self, names: Iterable[str], *, decoded: bool) -> Mapping[str, Entry]:
        """An entry for each file: the kept one where size and time are the same, else a new one.

        decoded: read each file whole once, so that damage is found.
        """
        known, entries, stale = self._known, {}, {}
        for name in names:
            state = self._state(name)
            entry = known.get(name)
            if entry is not None and entry[:2] == state and (not decoded or entry.decoded or entry.problem):
                entries[name] = entry
            else:
                stale[name] = state
        if stale:
            entries |= self._examined(stale, decoded)
            self._known |= entries
            _save(self._file, self._known)
        return entries

    def _examined(self, stale: Mapping[str, tuple[int, int]], decoded: bool) -> dict[str, Entry]:
        names: list[str] = list(stale)
        results: dict[str, Entry] = {}
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(names), AT_ONCE):
                part = names[start : start + AT_ONCE]
                entries = pool.map(lambda n: self._examine(n, *stale[n], decoded), part)
                results.update(zip(part, entries, strict=True))
        return results

    def _state(self, name: str) -> tuple[int, int]:
        """(size, time); (-1, -1) for a file that cannot be looked at."""
        try:
            state = os.stat(f"{self._prefix}{name}")
        except OSError:
            return -1, -1
        return state.st_size, changed_at(state)

    def _examine(self, name: str, size: int, time: int, decoded: bool) -> Entry:
        path, content, width, height, problem = self._root / name, "", 0, 0, None
        try:
            with open(path, "rb") as file:
                content = fingerprint(file, size)
                file.seek(0)
                width, height = upright_size(file, shown(path))
        except PictureError as error:
            problem = str(error).replace("\0", "?")
        except OSError as error:
            problem = f"{shown(path)}: {error.strerror}"
        if decoded and problem is None:
            problem = _damage(path)
        return Entry(size, time, content, width, height, problem, decoded)


def fingerprint(file: BinaryIO, size: int) -> str:
    """A digest of a file's size and content; of a large file only of three blocks, so that it costs no more
    than a small one. A picture that is saved anew differs in its size or in all of its last block."""
    digest = hashlib.sha256(str(size).encode())
    if size <= 4 * BLOCK:
        digest.update(file.read())
    else:
        for start in (0, size // 2, size - BLOCK):
            file.seek(start)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()[:32]


def _damage(path: Path) -> str | None:
    try:
        decode(path, lambda picture: None)
    except PictureError as error:
        return str(error).replace("\0", "?")
    return None


def _load(file: Path) -> dict[str, Entry]:
    """The entries of the index file; empty where it cannot be read."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            columns = {name: kept[name] for name in kept.files}
        if int(columns["version"]) != VERSION:
            return {}
        names, contents, problems = (_texts(columns[name]) for name in ("names", "contents", "problems"))
        numbers = [columns[name].tolist() for name in ("sizes", "times", "widths", "heights", "decoded")]
        sizes, times, widths, heights, decoded = numbers
        reasons = [problem or None for problem in problems] if any(problems) else [None] * len(names)
        rows = zip(sizes, times, contents, widths, heights, reasons, decoded, strict=True)
        return dict(zip(names, map(Entry._make, rows), strict=True))
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        return {}


def _save(file: Path, entries: Mapping[str, Entry]) -> None:
    """Writes the entries as columns: a hundred thousand of them are read in a tenth of a second."""
    sizes, times, contents, widths, heights, problems, decoded = zip(*entries.values(), strict=True)
    texts = {"names": entries, "contents": contents, "problems": [p or "" for p in problems]}
    numbers = {"sizes": sizes, "times": times, "widths": widths, "heights": heights}
    columns = {
        "version": np.array(VERSION),
        "decoded": np.array(decoded, bool),
        **{name: np.array(values, np.int64) for name, values in numbers.items()},
        **{name: _bytes(values) for name, values in texts.items()},
    }
    try:
        with atomic(file) as aside, aside.open("wb") as opened:
            np.savez(opened, **columns)  # type: ignore[arg-type]  # one name could be `allow_pickle`
    except DiskError:  # a full or read-only disk: the next run looks again
        return


def _bytes(texts: Iterable[str]) -> UInt8[np.ndarray, " n"]:
    """Texts without a null character, joined by it; names of files may hold bytes that are no UTF-8."""
    return np.frombuffer("\0".join(texts).encode(errors="surrogateescape"), np.uint8)


def _texts(joined: UInt8[np.ndarray, " n"]) -> list[str]:
    return joined.tobytes().decode(errors="surrogateescape").split("\0")
