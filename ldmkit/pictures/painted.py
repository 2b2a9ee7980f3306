"""Conditions as pictures to look at: maps in colours, masks in grey, boxes as outlines."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor

from ldmkit.pictures.batches import batch, masks
from ldmkit.pictures.files import to_pictures
from ldmkit.pictures.values import read
from ldmkit.types import FieldKind

TURN = 0.61803398875
"""The golden ratio: successive hues stay apart, however many there are."""
LEVELS = ((0.55, 0.92), (0.75, 0.72), (0.4, 0.98))
"""Saturation and value, in turn."""


def colours(count: int) -> list[tuple[int, int, int]]:
    """`count` colours, red, green and blue in 0 to 255, that differ from their neighbours in the list."""
    palette = []
    for i in range(count):
        saturation, value = LEVELS[i % len(LEVELS)]
        red, green, blue = colorsys.hsv_to_rgb((0.58 + i * TURN) % 1, saturation, value)
        palette.append((round(255 * red), round(255 * green), round(255 * blue)))
    return palette


def paint(
    value: Any, kind: FieldKind, side: int = 128, below: Pillow.Image | None = None
) -> Pillow.Image | None:
    """A condition's value for people to see; None for kinds that are words or numbers.

    A map has `colours` by class id. Boxes, (class, x, y, width, height) each with sides in [0, 1], are drawn
    on white of `side` x `side` pixels, or on the picture `below`. Raises ValueError for a value that is not
    of its kind.
    """
    if kind == "picture":
        return to_pictures(batch({"picture": [value]}, "picture"))[0]
    if kind == "mask":
        hole = masks({"mask": [value]}, "mask")[0, 0]
        return Pillow.fromarray((255 * hole).to(torch.uint8).numpy())
    if kind == "map":
        return _map(read(value, "map"))
    return _boxes(value, below or Pillow.new("RGB", (side, side), "white")) if kind == "boxes" else None


def _map(ids: Int[Tensor, "H W"]) -> Pillow.Image:
    table: UInt8[np.ndarray, "n 3"] = np.array(colours(int(ids.max()) + 1), np.uint8)
    return Pillow.fromarray(table[ids.long().numpy()])


def _boxes(boxes: Sequence[Sequence[float]], below: Pillow.Image) -> Pillow.Image:
    picture, (across, down) = below.copy(), below.size
    pen, last = ImageDraw.Draw(picture), max((int(kind) for kind, *_ in boxes), default=0)
    table = colours(last + 1)
    for kind, x, y, width, height in boxes:
        corners = (x * across, y * down, (x + width) * across - 1, (y + height) * down - 1)
        pen.rectangle(corners, outline=table[int(kind)], width=2)
    return picture
