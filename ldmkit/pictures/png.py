"""Pictures on disk: PNG files that say how to make them again, and grids to look at."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from ldmkit.disk import atomic, opened
from ldmkit.errors import UserError

KEY = "ldmkit"
"""The prefix of the PNG text entries: ldmkit:prompt, ldmkit:seed, ldmkit:recipe..."""


def save_picture(picture: PIL.Image.Image, path: Path, about: Mapping[str, str]) -> None:
    """Writes a PNG whose metadata holds `about`, whole or not at all. Raises DiskError."""
    info = PngInfo()
    for key, value in about.items():
        info.add_itxt(f"{KEY}:{key}", value)
    with atomic(path) as aside:
        picture.save(aside, format="PNG", pnginfo=info)


def read_about(path: Path) -> dict[str, str]:
    """What `save_picture` recorded; UserError where the file is no picture of ours."""
    try:
        with opened(path) as file, PIL.Image.open(file, formats=["PNG"]) as picture:
            text = dict(getattr(picture, "text", {}))
    except (OSError, PIL.Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable PNG ({error})") from error
    about = {key.removeprefix(f"{KEY}:"): str(value) for key, value in text.items() if key.startswith(KEY)}
    if not about:
        raise UserError(f"{path}: holds no ldmkit metadata")
    return about


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
