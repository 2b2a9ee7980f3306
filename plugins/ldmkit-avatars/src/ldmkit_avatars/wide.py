"""Maps of landscapes without bounds in width."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from ldmkit_avatars.maps import draw_map
from ldmkit_avatars.styles import CLASSES

SKY, SUN = CLASSES.index("sky"), CLASSES.index("sun")
HILLS = tuple(CLASSES.index(name) for name in ("far hills", "middle hills", "near hills", "foreground"))
"""From the back to the front; their ids rise."""


class WideMap:
    """A landscape map without end to either side, whose column x depends on the seed and x alone.

    The maps of square landscapes stand side by side and overlap by a quarter of their width; there the
    outline of each hill fades from one square's into the next one's. Suns that would reach into an overlap
    are left out.
    """

    def __init__(self, seed: int, height: int = 128) -> None:
        """height: in pixels; a multiple of 4."""
        if height < 16 or height % 4:
            raise ValueError(f"height {height}: expects a multiple of 4, at least 16")
        self._seed, self._height = seed, height
        self._overlap = height // 4
        self._pace = height - self._overlap

    def columns(self, start: int, stop: int) -> UInt8[np.ndarray, "H w"]:
        """The columns from `start` up to `stop`, as class ids; `start` may be negative."""
        width, height = stop - start, self._height
        outlines, weights = np.zeros((len(HILLS), width)), np.zeros(width)
        suns = np.zeros((height, width), bool)
        for number in range((start - height) // self._pace, stop // self._pace + 1):
            square = draw_map("landscape", f"wide {self._seed}/{number}", height)
            first = number * self._pace - start
            here = slice(max(first, 0), min(first + height, width))
            if here.stop <= here.start:
                continue
            there = slice(here.start - first, here.stop - first)
            weight = self._weight()[there]
            outlines[:, here] += weight * _outlines(square)[:, there]
            weights[here] += weight
            suns[:, here] |= self._sun(square)[:, there]
        return _painted(outlines / weights, suns)

    def _weight(self) -> Float[np.ndarray, " height"]:
        """How much a square counts at each of its columns: 1 in its middle, falling to 0 in the overlaps."""
        x = np.arange(self._height) + 0.5
        ramp = np.clip(np.minimum(x, self._height - x) / self._overlap, 0, 1)
        return ramp * ramp * (3 - 2 * ramp)

    def _sun(self, square: UInt8[np.ndarray, "H H"]) -> np.ndarray:
        """The place of the square's sun, if all of it lies outside the overlaps."""
        sun = square == SUN
        columns = np.flatnonzero(sun.any(0))
        inside = columns.size and self._overlap <= columns[0] and columns[-1] < self._pace
        return sun if inside else np.zeros_like(sun)


def _outlines(square: UInt8[np.ndarray, "H H"]) -> Float[np.ndarray, "hills H"]:
    """The first row of each hill, or of one before it, in every column; the height where there is none."""
    height = len(square)
    below = np.stack([square >= kind for kind in HILLS])
    return np.where(below.any(1), below.argmax(1), height).astype(float)


def _painted(outlines: Float[np.ndarray, "hills w"], suns: np.ndarray) -> UInt8[np.ndarray, "H w"]:
    """Sky, suns in it, and the hills from the back to the front."""
    labels = np.where(suns, SUN, SKY).astype(np.uint8)
    rows = np.arange(len(labels))[:, None]
    for kind, outline in zip(HILLS, outlines, strict=True):
        labels[rows >= outline] = kind
    return labels
