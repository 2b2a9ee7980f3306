"""The data set `with-masks`: holes drawn over the pictures of another data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image, ImageDraw
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ldmkit.interfaces import Dataset
from ldmkit_image.drawn import WithField

Kind = Literal["boxes", "strokes", "half", "border"]
Hole = Bool[np.ndarray, "H W"]


class WithMasks(WithField):
    """Another data set with a mask for each picture, True where the hole is: for training to inpaint.

    A mask is of one of the `kinds`, all equally likely: "boxes", one to four rectangles with sides of 15 to
    50 % of the picture's; "strokes", one to four brush strokes; "half", 40 to 60 % from one of the four
    sides; "border", all but an inner rectangle with sides of 50 to 80 %. Training draws a new one at every
    step; validation and evaluation use each picture's first. Masks are bool tensors "H W".

    Args:
        of: the data set whose pictures get masks.
        field: the name of the new field.
        kinds: the kinds of holes.
        seed: what the draws follow from, besides the picture's place in its split.
    """

    def __init__(
        self,
        *,
        of: Dataset,
        field: str = "mask",
        kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("boxes", "strokes", "half", "border"),
        seed: NonNegativeInt = 0,
    ) -> None:
        self.kinds = kinds
        super().__init__(of, field, self._mask, seed, f"with-masks {field} {kinds} {seed}")

    def _mask(self, image: Tensor, draws: np.random.Generator) -> Bool[Tensor, "H W"]:
        kind = self.kinds[int(draws.integers(len(self.kinds)))]
        return torch.from_numpy(HOLES[kind](image.shape[1], image.shape[2], draws))


def boxes(height: int, width: int, draws: np.random.Generator) -> Hole:
    """One to four rectangles."""
    hole = np.zeros((height, width), bool)
    for _ in range(draws.integers(1, 5)):
        h, w = (max(1, round(side * draws.uniform(0.15, 0.5))) for side in (height, width))
        top, left = draws.integers(height - h + 1), draws.integers(width - w + 1)
        hole[top : top + h, left : left + w] = True
    return hole


def strokes(height: int, width: int, draws: np.random.Generator) -> Hole:
    """One to four lines of three to eight corners, 6 to 15 % of the shorter side thick, with round ends.

    The free-form masks of Yu et al. 2019, "Free-Form Image Inpainting with Gated Convolution", section 3.3.
    """
    canvas = Image.new("1", (width, height))
    pen, side = ImageDraw.Draw(canvas), min(height, width)
    for _ in range(draws.integers(1, 5)):
        thick = max(2, round(side * draws.uniform(0.06, 0.15)))
        corners = draws.uniform((0, 0), (width, height), (draws.integers(3, 9), 2)).tolist()
        pen.line([tuple(c) for c in corners], fill=1, width=thick)
        for x, y in corners:
            pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=1)
    return np.array(canvas)


def half(height: int, width: int, draws: np.random.Generator) -> Hole:
    """A part of the picture from its left, upper, right or lower side."""
    hole = np.zeros((height, width), bool)
    share, turn = draws.uniform(0.4, 0.6), int(draws.integers(4))
    seen = np.rot90(hole, turn)  # a view: what is written here is written there
    seen[:, : max(1, round(seen.shape[1] * share))] = True
    return hole


def border(height: int, width: int, draws: np.random.Generator) -> Hole:
    """All but an inner rectangle: the picture is to be continued outwards."""
    hole = np.ones((height, width), bool)
    h, w = (max(1, round(side * draws.uniform(0.5, 0.8))) for side in (height, width))
    top, left = draws.integers(height - h + 1), draws.integers(width - w + 1)
    hole[top : top + h, left : left + w] = False
    return hole


HOLES: dict[Kind, Callable[[int, int, np.random.Generator], Hole]] = {
    "boxes": boxes,
    "strokes": strokes,
    "half": half,
    "border": border,
}
