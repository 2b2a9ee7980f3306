"""The data set `with-low-res`: low-resolution pictures made from those of another data set."""

from __future__ import annotations

import io
from typing import Annotated, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from ldmkit.interfaces import Dataset
from ldmkit.pictures import to_tensor
from ldmkit_image.drawn import WithField

Kernel = Literal["bicubic", "bilinear", "box", "lanczos"]
Quality = Annotated[int, Field(ge=1, le=95)]


class WithLowRes(WithField):
    """Another data set with a low-resolution copy of each picture: for training super-resolution.

    The copy is blurred, reduced with antialiasing, given noise and compressed as JPEG, in this order, each
    to an extent drawn from its range: the degradations of Zhang et al. 2021, "Designing a Practical
    Degradation Model for Deep Blind Image Super-Resolution". By default it is only reduced, bicubically.
    Training draws a new copy at every step; validation and evaluation use each picture's first. Copies are
    uint8 "3 h w".

    Args:
        of: the data set whose pictures are reduced; their sides have to be multiples of `factor`.
        field: the name of the new field.
        factor: how many times smaller the copy's sides are.
        blur: range of the Gaussian blur's standard deviation, in pixels of the large picture.
        kernels: the kernels of the reduction, all equally likely.
        noise: range of the noise's standard deviation, for values in [0, 1].
        jpeg: range of the JPEG quality; none: not compressed.
        seed: what the draws follow from, besides the picture's place in its split.
    """

    def __init__(
        self,
        *,
        of: Dataset,
        field: str = "low_res",
        factor: Annotated[int, Field(ge=2)] = 4,
        blur: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 0.0),
        kernels: Annotated[tuple[Kernel, ...], Field(min_length=1)] = ("bicubic",),
        noise: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 0.0),
        jpeg: tuple[Quality, Quality] | None = None,
        seed: NonNegativeInt = 0,
    ) -> None:
        for name, low_high in (("blur", blur), ("noise", noise), ("jpeg", jpeg or (1, 1))):
            if low_high[0] > low_high[1]:
                raise ValueError(f"{name} {list(low_high)}: the first must not be above the second")
        height, width = of[0]["image"].shape[1:]
        if height % factor or width % factor:
            raise ValueError(f"factor {factor}: does not divide the pictures' size {height}x{width}")
        self.factor, self.blur, self.kernels, self.noise, self.jpeg = factor, blur, kernels, noise, jpeg
        settings = f"with-low-res {field} {factor} {blur} {kernels} {noise} {jpeg} {seed}"
        super().__init__(of, field, self._copy, seed, settings)

    def _copy(self, image: Tensor, draws: np.random.Generator) -> UInt8[Tensor, "3 h w"]:
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        if (radius := draws.uniform(*self.blur)) > 0:
            picture = picture.filter(ImageFilter.GaussianBlur(radius))
        kernel = self.kernels[int(draws.integers(len(self.kernels)))]
        size = (picture.width // self.factor, picture.height // self.factor)
        picture = picture.resize(size, Image.Resampling[kernel.upper()])
        if (deviation := draws.uniform(*self.noise)) > 0:
            pixels = np.asarray(picture) + 255 * deviation * draws.standard_normal((*size[::-1], 3))
            picture = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
        return to_tensor(picture if self.jpeg is None else _compressed(picture, draws, self.jpeg))


def _compressed(picture: Image.Image, draws: np.random.Generator, quality: tuple[int, int]) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=int(draws.integers(quality[0], quality[1] + 1)))
    return Image.open(file, formats=["JPEG"]).convert("RGB")
