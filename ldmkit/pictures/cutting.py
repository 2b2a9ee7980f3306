"""What part of a picture an example shows, and the same part of its maps, masks and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

Size = tuple[int, int]
"""Width and height."""
SMALLEST = 0.01
"""Share of a side from which on what is left of a box after the cut still counts."""


@dataclass(frozen=True)
class Cut:
    """The part of a picture of `source` pixels within `box` (left, top, right, bottom), resized to `size`."""

    source: Size
    box: tuple[float, float, float, float]
    size: Size

    def picture(self, picture: Image.Image) -> Image.Image:
        """The part of the picture itself, by Lanczos."""
        return picture.resize(self.size, Image.Resampling.LANCZOS, box=self.box)

    def other(self, picture: Image.Image) -> Image.Image:
        """The same part of another picture of the same view, as many times smaller as it was before.

        One that has the example's shape, but not the picture's, was cut already. ValueError where it fits
        neither.
        """
        if same_shape(self.size, picture.size) and not same_shape(self.source, picture.size):
            return picture
        left, top, right, bottom = self._scaled(picture.size)
        width = self.size[0] * picture.width / self.source[0]
        height = self.size[1] * picture.height / self.source[1]
        size = (max(1, round(width)), max(1, round(height)))
        return picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, right, bottom))

    def nearest(self, values: Tensor) -> Tensor:
        """The same part of a map "h w" by nearest, at the example's size."""
        height, width = values.shape
        if same_shape(self.size, (width, height)) and not same_shape(self.source, (width, height)):
            return _enlarged(values, self.size)
        left, top, right, bottom = self._scaled((width, height))
        rows = _positions(top, bottom, self.size[1], height)
        columns = _positions(left, right, self.size[0], width)
        return values[rows][:, columns]

    def boxes(self, objects: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
        """Objects (class, x, y, width, height), boxes in [0, 1] of the whole picture, within the part.

        What lies outside is left out, what sticks out is clipped.
        """
        (w, h), (left, top, right, bottom) = self.source, self.box
        kept = []
        for kind, x, y, width, height in objects:
            x0, x1 = (min(max((v * w - left) / (right - left), 0), 1) for v in (x, x + width))
            y0, y1 = (min(max((v * h - top) / (bottom - top), 0), 1) for v in (y, y + height))
            if x1 - x0 >= min(SMALLEST, width) and y1 - y0 >= min(SMALLEST, height):
                kept.append((kind, x0, y0, x1 - x0, y1 - y0))
        return tuple(kept)

    def _scaled(self, size: Size) -> tuple[float, float, float, float]:
        """The box in pixels of a picture of another size; ValueError where its shape is another."""
        if not same_shape(self.source, size):
            own, other = f"{size[0]}x{size[1]}", f"{self.source[0]}x{self.source[1]}"
            raise ValueError(f"it is {own}, which does not fit the picture's {other}")
        x, y = size[0] / self.source[0], size[1] / self.source[1]
        left, top, right, bottom = self.box
        return left * x, top * y, min(right * x, size[0]), min(bottom * y, size[1])


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


def same_shape(one: Size, other: Size) -> bool:
    """Have they the same ratio of width to height, up to the rounding of the smaller one to whole pixels?"""
    scale = one[0] / other[0]
    small, large = (one, other) if scale < 1 else (other, one)
    exact = small[0] * large[1] / large[0], small[1] * large[0] / large[1]
    return abs(exact[0] - small[1]) <= 1 or abs(exact[1] - small[0]) <= 1


def _positions(start: float, stop: float, count: int, limit: int) -> Tensor:
    """The pixels nearest to the middles of `count` equal steps from start to stop."""
    steps = (torch.arange(count, dtype=torch.float64) + 0.5) * (stop - start) / count + start
    return steps.floor().long().clamp(0, limit - 1)


def _enlarged(values: Tensor, size: Size) -> Tensor:
    if values.shape == (size[1], size[0]):
        return values
    stretched = interpolate(values[None, None].double(), size=(size[1], size[0]), mode="nearest")
    return stretched[0, 0].to(values.dtype)
