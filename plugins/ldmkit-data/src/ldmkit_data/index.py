"""What is known of the files of a folder, kept between runs: size, time, content, dimensions; no pixels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from ldmkit.disk import cache_folder
from ldmkit.pictures import FORMATS, MAX_PIXELS, PictureError, decode, shown

VERSION = 1
BLOCK = 16 * 1024
"""Bytes; of a file larger than four of these only the first, the middle and the last one are digested."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF entry, and its values that exchange width and height."""
READERS = 8
AT_ONCE = 4096
"""Files that wait for a reader at once."""


@dataclass(slots=True)
class Entry:
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
        self._file = cache_folder() / "folders" / f"{name}.json"
        self._known = _load(self._file)

    def look(self, names: Iterable[str], *, decoded: bool) -> Mapping[str, Entry]:
        """An entry for each file: the kept one where size and time are the same, else a new one.

        decoded: read each file whole once, so that damage is found.
        """
        names = list(names)
        stats = {name: self._stat(name) for name in names}
        stale = [n for n in names if not self._serves(n, stats[n], decoded)]
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(stale), AT_ONCE):
                part = stale[start : start + AT_ONCE]
                found = pool.map(lambda n: self._examine(n, stats[n], decoded), part)
                self._known |= dict(zip(part, found, strict=True))
        if stale:
            _save(self._file, self._known)
        return {name: self._known[name] for name in names}

    def _stat(self, name: str) -> Entry:
        try:
            found = os.stat(f"{self._prefix}{name}")
        except OSError as error:
            return Entry(-1, -1, problem=f"{shown(self._root / name)}: {error.strerror}")
        return Entry(found.st_size, found.st_mtime_ns)

    def _serves(self, name: str, now: Entry, decoded: bool) -> bool:
        known = self._known.get(name)
        if known is None or (known.size, known.time) != (now.size, now.time):
            return False
        return known.decoded or known.problem is not None or not decoded

    def _examine(self, name: str, now: Entry, decoded: bool) -> Entry:
        path = self._root / name
        if now.problem is None:
            try:
                with open(path, "rb") as file:
                    now.content = fingerprint(file, now.size)
                    now.width, now.height, now.problem = _header(file, path)
            except OSError as error:
                now.problem = f"{shown(path)}: {error.strerror}"
        if decoded and now.problem is None:
            now.problem, now.decoded = _damage(path), True
        return now


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


def _header(file: BinaryIO, path: Path) -> tuple[int, int, str | None]:
    """Width and height, upright, without decoding; and what is wrong."""
    file.seek(0)
    try:
        with Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            turned = "exif" in picture.info and picture.getexif().get(ORIENTATION) in SIDEWAYS
            if turned:  # asked for without an entry, a PNG would be decoded to find one
                width, height = height, width
    except UnidentifiedImageError:
        return 0, 0, f"{shown(path)}: not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture"
    except Exception as error:  # decoders raise errors of all kinds on damaged files
        return 0, 0, f"{shown(path)}: cannot be read ({type(error).__name__}: {error})"[:500]
    if width * height > MAX_PIXELS:
        return 0, 0, f"{shown(path)}: {width}x{height} is more than the {MAX_PIXELS} pixels allowed"
    return width, height, None


def _damage(path: Path) -> str | None:
    try:
        decode(path, lambda picture: None)
    except PictureError as error:
        return str(error)
    return None


def _load(file: Path) -> dict[str, Entry]:
    """The kept entries; none where there is no usable file."""
    try:
        kept = json.loads(file.read_bytes())
        if kept["version"] != VERSION:
            return {}
        return {name: Entry(*values) for name, values in kept["entries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _save(file: Path, entries: Mapping[str, Entry]) -> None:
    content = {"version": VERSION, "entries": {name: astuple(e) for name, e in entries.items()}}
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(content), encoding="utf-8")
        aside.replace(file)
    except OSError:  # a full or read-only disk: the next run looks again
        aside.unlink(missing_ok=True)
