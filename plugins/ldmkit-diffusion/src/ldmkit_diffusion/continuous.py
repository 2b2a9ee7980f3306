"""Schedules of continuous levels: rectified flow and EDM."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from ldmkit.types import Level

TIME_SCALE = 1000
"""Networks are told 1000 t, the range that their time embedding is made for."""


class Flow:
    """alpha = 1 - t, sigma = t, with t shifted towards noise for larger latents: m t / (1 + (m - 1) t).

    `time` is 1000 t. Source: Liu et al. 2022; Esser et al. 2024, section 3.1 and equation 23.

    Args:
        shift: m, at latents of size `base` (at every size where there is none); 1 shifts nothing.
        base: latent (h, w) from which m grows as the square root of the area.
        sampling: how training draws t before the shift: logit-normal or uniform.
        mean: of the normal that logit-normal draws from.
        std: of the normal that logit-normal draws from.
    """

    zero_snr = True
    timesteps: int | None = None

    def __init__(
        self,
        *,
        shift: PositiveFloat = 1.0,
        base: tuple[PositiveInt, PositiveInt] | None = None,
        sampling: Literal["logit-normal", "uniform"] = "logit-normal",
        mean: float = 0.0,
        std: PositiveFloat = 1.0,
    ) -> None:
        self.shift = shift
        self.base = base
        self.sampling = sampling
        self.mean = mean
        self.std = std

    def level(self, t: Tensor, size: tuple[int, int] | None = None) -> Level:
        """alpha = 1 - t', sigma = t' and time = 1000 t' with the shifted t'."""
        t, m = t.double(), self._shift(size)
        t = m * t / (1 + (m - 1) * t)
        return Level(1 - t, t, TIME_SCALE * t)

    def draw(
        self, n: int, generator: torch.Generator | None, size: tuple[int, int] | None = None
    ) -> Float[Tensor, " n"]:
        """n times before the shift, logit-normal or uniform."""
        device = generator.device if generator else None
        if self.sampling == "uniform":
            return torch.rand(n, generator=generator, device=device, dtype=torch.float64)
        normal = torch.randn(n, generator=generator, device=device, dtype=torch.float64)
        return (self.mean + self.std * normal).sigmoid()

    def invert(self, log_snr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The t whose shifted time is sigma / (alpha + sigma)."""
        t, m = (-log_snr.double() / 2).sigmoid(), self._shift(size)
        return t / (m - (m - 1) * t)

    def _shift(self, size: tuple[int, int] | None) -> float:
        if self.base is None or size is None:
            return self.shift
        return self.shift * math.sqrt(size[0] * size[1] / (self.base[0] * self.base[1]))


class EDM:
    """alpha = 1 and sigma from `sigma_min` to `sigma_max`, even in ln sigma over t.

    `time` is c_noise = ln(sigma) / 4. Source: Karras et al. 2022, table 1.

    Args:
        sigma_min: sigma at t = 0.
        sigma_max: sigma at t = 1.
        mean: of ln sigma in training.
        std: of ln sigma in training.
    """

    zero_snr = False
    timesteps: int | None = None

    def __init__(
        self,
        *,
        sigma_min: PositiveFloat = 0.002,
        sigma_max: PositiveFloat = 80.0,
        mean: float = -1.2,
        std: PositiveFloat = 1.2,
    ) -> None:
        if sigma_min >= sigma_max:
            raise ValueError(f"sigma_min {sigma_min} must be below sigma_max {sigma_max}")
        self.low, self.high = math.log(sigma_min), math.log(sigma_max)
        self.mean = mean
        self.std = std

    def level(self, t: Tensor, size: tuple[int, int] | None = None) -> Level:
        """sigma = sigma_min^(1-t) sigma_max^t; `size` makes no difference."""
        log_sigma = self.low + t.double() * (self.high - self.low)
        return Level(torch.ones_like(log_sigma), log_sigma.exp(), log_sigma / 4)

    def draw(
        self, n: int, generator: torch.Generator | None, size: tuple[int, int] | None = None
    ) -> Float[Tensor, " n"]:
        """n times whose ln sigma is normal, kept within the ends."""
        device = generator.device if generator else None
        normal = torch.randn(n, generator=generator, device=device, dtype=torch.float64)
        return self._t(self.mean + self.std * normal)

    def invert(self, log_snr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The t whose ln sigma is -log_snr / 2; the nearest end for one outside."""
        return self._t(-log_snr.double() / 2)

    def _t(self, log_sigma: Tensor) -> Tensor:
        return ((log_sigma - self.low) / (self.high - self.low)).clamp(0, 1)
