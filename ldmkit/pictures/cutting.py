"""What part of a picture an example shows, and the same part of its maps, masks and boxes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

Size = tuple[int, int]
"""Width and height."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
SMALLEST = 0.01
"""Share of a side from which on what is left of a box after the cut still counts."""

MOST = 1.05
"""Width or height of a box, as a share of the picture, up to which it is one that sticks out."""


@dataclass(frozen=True)
class Cut:
    """The part of a picture of `source` pixels within `box` (left, top, right, bottom), resized to `size`.

    Where the box reaches beyond the picture, the example shows the colour `fill`, class 0 and no hole.
    """

    source: Size
    box: Box
    size: Size
    fill: str = "white"

    def picture(self, picture: Image.Image) -> Image.Image:
        """The part of the picture itself, by Lanczos."""
        return _resized(picture, self.box, self.size, self.fill)

    def other(self, picture: Image.Image) -> Image.Image:
        """The same part of another picture of the same view, as many times smaller as it was before.

        One that has the example's shape, but not the picture's, was cut already. ValueError where it fits
        neither.
        """
        if same_shape(self.size, picture.size) and not same_shape(self.source, picture.size):
            return picture
        width = self.size[0] * picture.width / self.source[0]
        height = self.size[1] * picture.height / self.source[1]
        size = (max(1, round(width)), max(1, round(height)))
        return _resized(picture, self._scaled(picture.size), size, self.fill)

    def nearest(self, values: Tensor) -> Tensor:
        """The same part of a map "h w" by nearest, at the example's size."""
        height, width = values.shape
        if same_shape(self.size, (width, height)) and not same_shape(self.source, (width, height)):
            return _enlarged(values, self.size)
        left, top, right, bottom = self._scaled((width, height))
        rows = _positions(top, bottom, self.size[1])
        columns = _positions(left, right, self.size[0])
        part = values[rows.clamp(0, height - 1)][:, columns.clamp(0, width - 1)]
        inside = _within(rows, height)[:, None] & _within(columns, width)
        return part if self._inside else torch.where(inside, part, torch.zeros_like(part))

    def boxes(self, objects: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
        """Objects (class, x, y, width, height), boxes in [0, 1] of the whole picture, within the part.

        What lies outside the part is left out, what sticks out is clipped. Raises ValueError for what is no
        such object, and for boxes that are no shares of the picture, as those in pixels.
        """
        (w, h), (left, top, right, bottom) = self.source, self.box
        kept = []
        for kind, x, y, width, height in map(_shares, objects):
            x0, x1 = (min(max((v * w - left) / (right - left), 0), 1) for v in (x, x + width))
            y0, y1 = (min(max((v * h - top) / (bottom - top), 0), 1) for v in (y, y + height))
            if x1 - x0 >= min(SMALLEST, width) and y1 - y0 >= min(SMALLEST, height):
                kept.append((kind, x0, y0, x1 - x0, y1 - y0))
        return tuple(kept)

    @property
    def _inside(self) -> bool:
        left, top, right, bottom = self.box
        return min(left, top) >= 0 and right <= self.source[0] and bottom <= self.source[1]

    def _scaled(self, size: Size) -> Box:
        """The box in pixels of a picture of another size; ValueError where its shape is another."""
        if not same_shape(self.source, size):
            own, other = f"{size[0]}x{size[1]}", f"{self.source[0]}x{self.source[1]}"
            raise ValueError(f"it is {own}, which does not fit the picture's {other}")
        x, y = size[0] / self.source[0], size[1] / self.source[1]
        left, top, right, bottom = self.box
        if self._inside:  # rounding must not lead out of the picture
            return left * x, top * y, min(right * x, size[0]), min(bottom * y, size[1])
        return left * x, top * y, right * x, bottom * y


def middle(source: Size, size: Size) -> Cut:
    """The largest part of the size's shape, in the middle (the arithmetic of PIL.ImageOps.fit)."""
    width, height = map(float, source)
    ratio = size[0] / size[1]
    if width / height >= ratio:
        cut_width, cut_height = (width if width / height == ratio else ratio * height), height
    else:
        cut_width, cut_height = width, width / ratio
    left, top = (width - cut_width) * 0.5, (height - cut_height) * 0.5
    return Cut(source, (left, top, left + cut_width, top + cut_height), size)


def padded(source: Size, size: Size, fill: str) -> Cut:
    """The whole picture in the middle, as large as fits; whole pixels of `fill` beside it."""
    scale = min(size[0] / source[0], size[1] / source[1])
    inner = [max(1, round(side * scale)) for side in source]
    before = [(outer - own) // 2 for outer, own in zip(size, inner, strict=True)]
    pixels = [own / side for own, side in zip(inner, source, strict=True)]
    left, top = (-gap / pixel for gap, pixel in zip(before, pixels, strict=True))
    right, bottom = left + size[0] / pixels[0], top + size[1] / pixels[1]
    return Cut(source, (left, top, right, bottom), size, fill)


def drawn(source: Size, size: Size, scale: tuple[float, float], key: int) -> Cut:
    """A square drawn by `key`: its side the shorter side times a factor from the range `scale`, its place any
    in the picture, all equally likely (the random crops of Rombach et al. 2022)."""
    draws = random.Random(key)
    side = max(1, round(min(source) * draws.uniform(*scale)))
    left, top = (draws.randint(0, length - side) for length in source)
    return Cut(source, (left, top, left + side, top + side), size)


def same_shape(one: Size, other: Size) -> bool:
    """Have they the same ratio of width to height, up to the rounding of the smaller one to whole pixels?"""
    scale = one[0] / other[0]
    small, large = (one, other) if scale < 1 else (other, one)
    exact = small[0] * large[1] / large[0], small[1] * large[0] / large[1]
    return abs(exact[0] - small[1]) <= 1 or abs(exact[1] - small[0]) <= 1


def _positions(start: float, stop: float, count: int) -> Tensor:
    """The pixels nearest to the middles of `count` equal steps from start to stop."""
    steps = (torch.arange(count, dtype=torch.float64) + 0.5) * (stop - start) / count + start
    return steps.floor().long()


def _within(positions: Tensor, limit: int) -> Tensor:
    return (positions >= 0) & (positions < limit)


def _shares(row: Any) -> Sequence[Any]:
    """An object (class, x, y, width, height) whose box is in shares of a picture, of which it may stick out.

    Raises ValueError for anything else.
    """
    numbers = isinstance(row, Sequence | Tensor) and all(isinstance(x, Real | Tensor) for x in row)
    if not numbers or len(row) != 5:
        raise ValueError(f"an object is five numbers, [class, x, y, width, height], not {str(row)[:60]}")
    _, x, y, width, height = row
    near = max(x, y) <= 1 and min(x + width, y + height) >= 0
    if not (near and min(width, height) >= 0 and max(width, height) <= MOST):
        box = ", ".join(f"{float(one):g}" for one in row[1:])
        raise ValueError(f"box ({box}): expects x, y, width, height as shares of the picture, 0 to 1")
    return row


def _resized(picture: Image.Image, box: Box, size: Size, fill: str) -> Image.Image:
    """The part of a picture within `box`, by Lanczos; `fill` where the box reaches beyond it."""
    left, top, right, bottom = box
    if min(left, top) >= 0 and right <= picture.width and bottom <= picture.height:
        return picture.resize(size, Image.Resampling.LANCZOS, box=box)
    x, y = size[0] / (right - left), size[1] / (bottom - top)
    inner = (max(1, round(picture.width * x)), max(1, round(picture.height * y)))
    canvas = Image.new(picture.mode, size, fill)
    canvas.paste(picture.resize(inner, Image.Resampling.LANCZOS), (round(-left * x), round(-top * y)))
    return canvas


def _enlarged(values: Tensor, size: Size) -> Tensor:
    if values.shape == (size[1], size[0]):
        return values
    stretched = interpolate(values[None, None].double(), size=(size[1], size[0]), mode="nearest")
    return stretched[0, 0].to(values.dtype)
