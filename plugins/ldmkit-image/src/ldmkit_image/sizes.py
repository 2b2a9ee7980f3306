"""The sizes of a picture as a condition: how large it was, where it was cut, how large it is to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ldmkit.types import Condition, ConditionSpec, Prepared

NUMBERS = 6
EXPECTS = "six whole numbers a picture: height and width before cutting, top and left, height and width"


class SizeEmbedding(nn.Module):
    """Six sizes of a picture as a vector of sines and cosines, which the denoiser adds to its time embedding.

    Height and width of the picture as its file had them, top and left of the cut in pixels of the picture
    resized so that the cut just fits into it, height and width now; vector "b 6 width". Training with `flip`
    counts the left from the other side. Where no sizes are given they are those of an uncut picture of the
    size that is drawn. Null is the condition itself: guidance acts on the other conditions. Source: Podell et
    al. 2023, "SDXL", section 2.2 and algorithm 1.

    Args:
        field: the batch field that holds the six numbers.
        width: channels for each number, half of them cosines, half sines.
    """

    def __init__(
        self, *, field: str = "size", width: Annotated[int, Field(gt=1, multiple_of=2)] = 256
    ) -> None:
        super().__init__()
        self.field, self.width = field, width
        self.spec = ConditionSpec(fields=(field,), vector=NUMBERS * width, kinds={field: "sizes"})

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Numbers to integers "b 6"; ValueError says what is expected."""
        try:
            sizes = torch.as_tensor(raw[self.field])
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
            raise ValueError(f"{self.field}: expects {EXPECTS}") from None
        whole = not (sizes.is_floating_point() or sizes.is_complex() or sizes.dtype == torch.bool)
        if sizes.ndim != 2 or sizes.shape[1] != NUMBERS or not whole:
            raise ValueError(f"{self.field}: expects {EXPECTS}")
        return {self.field: sizes.long()}

    def default(self, count: int, size: tuple[int, int]) -> Prepared:
        """The sizes of uncut pictures of (height, width)."""
        height, width = size
        return {self.field: torch.tensor([[height, width, 0, 0, height, width]]).expand(count, -1)}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """The vector "b 6 width", in float32."""
        return Condition(
            vector=_waves(prepared[self.field].flatten(), self.width).reshape(-1, NUMBERS * self.width)
        )

    def null(self, like: Condition) -> Condition:
        """The condition itself."""
        return like


def _waves(numbers: Tensor, width: int) -> Float[Tensor, "n w"]:
    """Cosines and sines at width/2 frequencies from 1 to 1e-4 (Vaswani et al. 2017, section 3.5)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=numbers.device) / half
    angles = numbers.float()[:, None] * (-exponents * math.log(1e4)).exp()
    return torch.cat([angles.cos(), angles.sin()], dim=1)
