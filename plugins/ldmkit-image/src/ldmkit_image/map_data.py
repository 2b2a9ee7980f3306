"""The data set `with-maps`: maps of the colours of another data set's pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageFilter
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor

from ldmkit.interfaces import Dataset
from ldmkit_image.drawn import WithField

COLOURS = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (215, 40, 40),
    "orange": (245, 145, 40),
    "brown": (130, 85, 50),
    "yellow": (250, 220, 60),
    "green": (60, 160, 70),
    "turquoise": (70, 195, 190),
    "blue": (50, 95, 205),
    "purple": (130, 70, 170),
    "pink": (240, 150, 180),
}
"""The classes of a map, and the colour that stands for each."""
TABLE = np.array(list(COLOURS.values()), np.int32)


class WithMaps(WithField):
    """Another data set with a map of each picture's colours, where it has no maps of its own.

    After a blur, each pixel gets the class of the nearest of twelve named colours, so that a map has broad
    areas as if painted by hand. The blur is drawn anew at every step. Maps are uint8 "H W".

    Args:
        of: the data set whose pictures are mapped.
        field: the name of the new field.
        blur: range of the Gaussian blur's standard deviation, as a share of the shorter side.
        seed: what the draws follow from, besides the picture's place in its split.
    """

    def __init__(
        self,
        *,
        of: Dataset,
        field: str = "segmentation",
        blur: tuple[NonNegativeFloat, NonNegativeFloat] = (0.01, 0.05),
        seed: NonNegativeInt = 0,
    ) -> None:
        if blur[0] > blur[1]:
            raise ValueError(f"blur {list(blur)}: the first must not be above the second")
        self.blur = blur
        super().__init__(of, field, self._map, seed, f"with-maps {field} {blur} {seed}")

    @property
    def class_names(self) -> Mapping[str, Sequence[str]]:
        """What the classes of each field are called, by id."""
        return {**super().class_names, self._field: tuple(COLOURS)}

    def _map(self, image: Tensor, draws: np.random.Generator) -> UInt8[Tensor, "H W"]:
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        radius = draws.uniform(*self.blur) * min(picture.size)
        pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.int32)
        distances = np.square(pixels[:, :, None] - TABLE).sum(-1)
        return torch.from_numpy(distances.argmin(-1).astype(np.uint8))
