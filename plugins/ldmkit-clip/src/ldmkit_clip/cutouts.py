"""Cut-outs: squares of a picture, so that a network of a fixed size judges parts as well as the whole."""

from __future__ import annotations

import math

import torch

from ldmkit.types import Image


def cutouts(image: Image, count: int, smallest: float, generator: torch.Generator) -> list[Image]:
    """The whole picture, then `count` squares of random size and place, the same for every picture.

    That they are the same keeps a picture independent of its batch.

    Args:
        smallest: side of the smallest, as a part of the picture's shorter side.
    """
    return [image, *(_one(image, smallest, generator) for _ in range(count))]


def _one(image: Image, smallest: float, generator: torch.Generator) -> Image:
    height, width = image.shape[2:]
    shorter = min(height, width)
    part, down, right = torch.rand(3, generator=generator).tolist()
    side = max(1, math.ceil(shorter * (smallest + (1 - smallest) * part)))
    top, left = round(down * (height - side)), round(right * (width - side))
    return image[:, :, top : top + side, left : left + side]
