"""Pictures on disk: PNG files that say how to make them again, and grids to look at."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from ldmkit.disk import atomic, opened
from ldmkit.errors import UserError
from ldmkit.pictures.files import flatten, open_picture

KEY = "ldmkit"
"""The prefix of the PNG text entries: ldmkit:prompt, ldmkit:seed, ldmkit:recipe..."""
PIXELS = "pixels"
"""The entry that holds a digest of what the picture shows."""


def save_picture(picture: PIL.Image.Image, path: Path, about: Mapping[str, str]) -> None:
    """Writes a PNG whose metadata holds `about`, and a digest of its pixels, whole or not at all. Raises
    DiskError."""
    info = PngInfo()
    for key, value in {**about, PIXELS: _digest(picture)}.items():
        info.add_itxt(f"{KEY}:{key}", value)
    with atomic(path) as aside:
        picture.save(aside, format="PNG", pnginfo=info)


def read_about(path: Path) -> dict[str, str]:
    """What `save_picture` recorded; UserError where the file is no picture of ours."""
    about = _entries(path)
    about.pop(PIXELS, None)
    if not about:
        raise UserError(f"{path}: holds no ldmkit metadata")
    return about


def is_unaltered(path: Path) -> bool:
    """Whether a picture shows what `save_picture` wrote, whatever else was done to its file.

    True for one of an earlier version, which does not say what it showed. Raises UserError for a file that is
    no readable PNG.
    """
    recorded = _entries(path).get(PIXELS)
    return recorded is None or recorded == _digest(open_picture(path))


def _entries(path: Path) -> dict[str, str]:
    try:
        with opened(path) as file, PIL.Image.open(file, formats=["PNG"]) as picture:
            text = dict(getattr(picture, "text", {}))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable PNG ({error})") from error
    return {key.removeprefix(f"{KEY}:"): str(value) for key, value in text.items() if key.startswith(KEY)}


def _digest(picture: PIL.Image.Image) -> str:
    """sha256 of its size and its pixels in RGB."""
    shape = f"{picture.width}x{picture.height}".encode()
    return hashlib.sha256(shape + flatten(picture).tobytes()).hexdigest()


def grid(pictures: Sequence[PIL.Image.Image], columns: int | None = None, gap: int = 4) -> PIL.Image.Image:
    """The pictures in rows on white, `columns` of them in each (by default about square)."""
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    width, height = (max(p.size[axis] for p in pictures) + gap for axis in (0, 1))
    rows = math.ceil(len(pictures) / columns)
    sheet = PIL.Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (gap + i % columns * width, gap + i // columns * height))
    return sheet


def file_name(index: int, text: str, seed: int) -> str:
    """A name that sorts and can be read: 003-a-red-fox-7.png."""
    words = re.sub(r"[^\w]+", "-", text.lower()).strip("-")[:40]
    return f"{index:03d}-{words or 'picture'}-{seed}.png"
