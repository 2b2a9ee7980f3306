"""A stranger's conditioner and sampler."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from ldmkit.types import Condition, ConditionSpec


class Temperature(nn.Module):
    """The temperature of a picture's scene as one token.

    Args:
        width: token width.
        warmest: the temperature, in degrees Celsius, that becomes 1.
    """

    def __init__(self, *, width: Annotated[int, Field(gt=0)] = 32, warmest: float = 40.0) -> None:
        super().__init__()
        self.spec = ConditionSpec(fields=("degrees",), tokens=width)
        self.warmest = warmest
        self.project = nn.Linear(1, width)
        self.unknown = nn.Parameter(torch.zeros(width))

    def prepare(self, raw):
        if "degrees" not in raw:
            raise ValueError("degrees: expects a number for each picture")
        return {"degrees": torch.as_tensor(raw["degrees"], dtype=torch.float32)}

    def encode(self, prepared, generator=None):
        return Condition(tokens=self.project(prepared["degrees"][:, None, None] / self.warmest))

    def null(self, like):
        return Condition(tokens=self.unknown.expand_as(like.tokens))


def breeze(estimate, z, levels, noise, *, gust: Annotated[float, Field(ge=0, le=1)] = 0.0):
    """DDIM whose noise is partly drawn anew.

    Args:
        gust: the share of new noise, 0 to 1.
    """
    for i in range(len(levels) - 1):
        guess = estimate(z, levels[i])
        mixed = (1 - gust) ** 0.5 * guess.noise + gust**0.5 * noise(i)
        z = levels[i + 1].add_noise(guess.clean, mixed)
    return z
