"""How a file holds the values of its picture, where Pillow does not tell: nearly, or in fewer than 8 bits."""

from __future__ import annotations

from typing import IO

from PIL import Image as Pillow

LOSSY, STEP = "ldmkit.lossy", "ldmkit.step"
"""Entries of a picture's `info`: does its file keep values only nearly; how far grey levels lie apart."""
STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey levels of 2 and 4 bits by, so that white is 255."""


def note(picture: Pillow.Image) -> None:
    """Adds both entries to a picture that has just been opened and is not loaded yet; to another one what can
    still be told. Corrects the grey level that a PNG calls transparent, which Pillow does not multiply."""
    if LOSSY in picture.info:
        return
    fp = getattr(picture, "fp", None)
    picture.info[LOSSY] = picture.format == "JPEG" or (picture.format == "WEBP" and not _lossless(fp))
    tiles = getattr(picture, "tile", None)
    picture.info[STEP] = step = STEPS.get(str(tiles[0][3]), 1) if tiles else 1
    if isinstance(level := picture.info.get("transparency"), int):
        picture.info["transparency"] = level * step


def is_lossy(picture: Pillow.Image) -> bool:
    """Does the file keep values only nearly?"""
    return bool(picture.info.get(LOSSY))


def step(picture: Pillow.Image) -> int:
    """How far the grey levels of the file lie apart in the picture."""
    return int(picture.info.get(STEP, 1))


def _lossless(file: IO[bytes] | None) -> bool:
    """Is the first picture in a WEBP file VP8L, which keeps values, and not VP8?"""
    if file is None or file.closed:
        return False
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8L"
        file.seek(16 if name == b"ANMF" else size + size % 2, 1)  # a frame has chunks of its own
    return False
