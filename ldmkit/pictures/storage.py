"""How a file holds the values of its picture, where Pillow does not tell: nearly, or in fewer than 8 bits."""

from __future__ import annotations

from typing import IO
from warnings import warn

from PIL import Image as Pillow

from ldmkit.errors import Note

LOSSY, UNSURE, STEP = "ldmkit.lossy", "ldmkit.unsure", "ldmkit.step"
"""Entries of a picture's `info`: does its file keep values only nearly; might it; how far grey levels lie
apart."""
ANIMATED = "of a picture that moves (an animation) the first frame is read"
MOVING = ("PNG", "WEBP")
PHOTO = ("JPEG", "MPO")
"""A JPEG file, or several in one, as some cameras write them."""
PALETTE = 3
"""VP8L's transform to a palette's indices, which no encoder changes."""
STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey levels of 2 and 4 bits by, so that white is 255."""


def note(picture: Pillow.Image) -> None:
    """Adds these entries to a picture that has just been opened and is not loaded yet; to another one what
    can still be told. Corrects the grey level that a PNG calls transparent, which Pillow does not multiply.
    """
    if LOSSY in picture.info:
        return
    if picture.format in MOVING and getattr(picture, "is_animated", False):
        warn(Note(ANIMATED), stacklevel=2)
    fp = getattr(picture, "fp", None)
    first = _first_transform(fp) if picture.format == "WEBP" else PALETTE
    picture.info[LOSSY], picture.info[UNSURE] = picture.format in PHOTO or first is None, first != PALETTE
    tiles = getattr(picture, "tile", None)
    picture.info[STEP] = step = STEPS.get(str(tiles[0][3]), 1) if tiles else 1
    if isinstance(level := picture.info.get("transparency"), int):
        picture.info["transparency"] = level * step


def is_lossy(picture: Pillow.Image) -> bool:
    """Does the file keep values only nearly?"""
    return bool(picture.info.get(LOSSY))


def is_unsure(picture: Pillow.Image) -> bool:
    """Might the file keep values only nearly, which it does not tell? A nearly lossless WEBP is stored as a
    lossless one is."""
    return bool(picture.info.get(UNSURE))


def step(picture: Pillow.Image) -> int:
    """How far the grey levels of the file lie apart in the picture."""
    return int(picture.info.get(STEP, 1))


def _first_transform(file: IO[bytes] | None) -> int | None:
    """The first transform, 0 to 3, of the first picture in a WEBP file where that is VP8L, which keeps values
    (-1 where it has none); None for VP8."""
    if file is None or file.closed:
        return None
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"VP8L":
            bits = (file.read(6) or b"\0")[-1]  # after signature, width, height, transparency and version
            return bits >> 1 & 3 if bits & 1 else -1
        if name == b"VP8 ":
            return None
        file.seek(16 if name == b"ANMF" else size + size % 2, 1)  # a frame has chunks of its own
    return None
