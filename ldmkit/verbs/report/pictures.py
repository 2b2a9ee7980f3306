"""Pictures of a page: data URIs with words below them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from ldmkit.disk import opened

MAX_SIDE = 900
"""Pixels of a picture's longer side; larger ones are scaled down."""


@dataclass(frozen=True)
class Picture:
    """A picture of the page: a data URI and the words below it."""

    source: str
    words: str


def source_of(path: Path, side: int = MAX_SIDE) -> str | None:
    """A PNG file as a data URI; None where it cannot be read."""
    try:
        with opened(path) as file, PIL.Image.open(file, formats=["PNG"]) as picture:
            return data_uri(picture, side)
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        return None


def data_uri(picture: PIL.Image.Image, side: int = MAX_SIDE) -> str:
    """A picture as a data URI, WEBP, its longer side `side` pixels at most."""
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "WEBP", quality=88)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
