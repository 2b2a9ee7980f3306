"""Pictures and maps, drawn once by several processes and kept in zip files of 250 avatars each.

Beside them are the choices of their seeds, which take a twentieth of the time.

A shard's folder is named by all that determines its pixels: style, size, seed, the versions of the libraries
that draw, and the classes of the parts. A shard is written to a temporary file and renamed, so that an
interrupted drawing goes on with the next one; a file whose checksums fail is drawn again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from ldmkit.disk import atomic, cache_folder, write_text
from ldmkit.errors import UserError
from ldmkit_avatars.drawing import Choice, choose, render
from ldmkit_avatars.maps import draw_map
from ldmkit_avatars.styles import CLASSES, definition, knowledge

SHARD = 250
ALONE = 64
"""Avatars that are drawn by themselves, before all of a set are drawn: to show a few takes no minutes."""
FORMAT = 1
"""Raised whenever the same arguments would draw other pixels."""


@dataclass(frozen=True)
class Shard:
    """The avatars of one style from `number` * 250 on, `size` x `size` pixels each."""

    style: str
    size: int
    seed: int
    number: int

    @property
    def path(self) -> Path:
        """The file that holds the shard."""
        folder = f"{self.style}-{self.size}-{self.seed}-{_identity(self.style)}"
        return cache_folder() / "avatars" / folder / f"{self.number:05d}.zip"

    def seed_of(self, index: int) -> str:
        """The seed of an avatar's choices; `index` counts within the shard."""
        return f"{self.seed}/{self.number * SHARD + index}"


@dataclass(frozen=True)
class Drawn:
    """One avatar: PNG files of its picture and map."""

    picture: bytes
    labels: bytes


class Gallery:
    """The avatars of some shards. The first few that are asked for are drawn by themselves; one more, and all
    shards are drawn and kept."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards, self._lock = shards, Lock()
        self._alone: dict[tuple[Shard, int], Drawn] = {}
        self._whole: dict[Shard, list[Drawn]] = {}

    def __getitem__(self, place: tuple[Shard, int]) -> Drawn:
        """The avatar at (shard, index in it)."""
        shard, index = place
        with self._lock:
            if shard not in self._whole and (known := _read(shard)) is not None:
                self._whole[shard] = known
            if shard in self._whole:
                return self._whole[shard][index]
            if place not in self._alone and len(self._alone) == ALONE:
                self._whole = dict(zip(self._shards, read_all(self._shards), strict=True))
                return self._whole[shard][index]
            if place not in self._alone:
                self._alone[place] = _draw_one(shard, index)
            return self._alone[place]


def choices(shard: Shard) -> list[Choice]:
    """What the seeds of a shard choose; its pictures need not be drawn for that."""
    kept = shard.path.with_suffix(".json")
    try:
        return [Choice(**choice) for choice in json.loads(kept.read_bytes())]
    except (OSError, ValueError, TypeError):  # missing or damaged
        chosen = [choose(shard.style, shard.seed_of(index))[0] for index in range(SHARD)]
    write_text(kept, json.dumps([asdict(choice) for choice in chosen]))
    return chosen


def read_all(shards: Sequence[Shard]) -> list[list[Drawn]]:
    """The avatars of each shard; shards that are missing or damaged are drawn first."""
    missing = [shard for shard in shards if _read(shard) is None]
    if missing:
        _draw_all(missing)
    return [_whole(shard) for shard in shards]


def draw(shard: Shard) -> None:
    """Draws the avatars of a shard and writes its file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index in range(SHARD):
            drawn = _draw_one(shard, index)
            archive.writestr(_entry(f"{index:03d}.png"), drawn.picture)
            archive.writestr(_entry(f"{index:03d}.map.png"), drawn.labels)
    with atomic(shard.path) as aside:
        aside.write_bytes(buffer.getvalue())


def _draw_one(shard: Shard, index: int) -> Drawn:
    seed = shard.seed_of(index)
    labels = Image.fromarray(draw_map(shard.style, seed, shard.size))
    return Drawn(_png(render(choose(shard.style, seed)[1], shard.size)), _png(labels))


def _draw_all(shards: Sequence[Shard]) -> None:
    """In as many processes as there are cores; each is a Python of its own, for the renderer holds the lock
    that Python's threads share."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        drawn: Iterator[None] = pool.map(_draw_apart, shards)
        label = f"drawing {len(shards) * SHARD} avatars"
        for _ in track(drawn, label, total=len(shards), console=Console(stderr=True), transient=True):
            pass


def _draw_apart(shard: Shard) -> None:
    command = [sys.executable, "-m", "ldmkit_avatars.shards", json.dumps(asdict(shard))]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{shard.style}: avatars cannot be drawn into {shard.path.parent}: {reason}")


def _whole(shard: Shard) -> list[Drawn]:
    drawn = _read(shard)
    if drawn is None:
        raise UserError(f"{shard.path}: is damaged though just drawn; is the disk full?")
    return drawn


def _read(shard: Shard) -> list[Drawn] | None:
    """The content of a shard; None where the file is missing or a checksum fails."""
    try:
        with zipfile.ZipFile(shard.path) as archive:
            return [
                Drawn(archive.read(f"{i:03d}.png"), archive.read(f"{i:03d}.map.png")) for i in range(SHARD)
            ]
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        return None


def _identity(style: str) -> str:
    """A fingerprint of all that determines the pixels besides the shard's own fields."""
    known = knowledge(style)
    parts = [
        FORMAT, version("dicebear-core"), version("resvg-py"), definition(style), known.base,
        dict(known.parts), {k: dict(v) for k, v in known.variants.items()}, dict(known.colours), CLASSES,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without a time, so that a shard is the same bytes whenever it is drawn."""
    return zipfile.ZipInfo(name)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def decode(encoded: bytes) -> np.ndarray:
    """The pixels of a PNG file: "H W 3" of a picture, "H W" of a map."""
    return np.array(Image.open(io.BytesIO(encoded), formats=["PNG"]))


if __name__ == "__main__":
    draw(Shard(**json.loads(sys.argv[1])))
