"""Discrete schedules: tables of T levels, as of denoising diffusion models."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from ldmkit.types import Level

Beta = Annotated[float, Field(gt=0, lt=1)]
Timesteps = Annotated[int, Field(gt=1, le=100_000)]
Draw = Literal["uniform", "logit-normal"]

SNAP = 1e-4
"""How near a timestep must be to an integer to be that one: t may have passed through float32."""


class DiscreteSchedule:
    """T levels with alpha^2 = alpha_bar and sigma^2 = 1 - alpha_bar, in float64.

    t in [0, 1] is the timestep t (T - 1): exactly the table's level where that is an integer, interpolated in
    log-SNR between two. `time` is the timestep.

    Args:
        zero_snr: rescale the table so that the last timestep has no signal at all (Lin et al. 2023).
        sampling: how training draws timesteps: uniform, or logit-normal (Esser et al. 2024, section 3.1).
        mean: of the normal that logit-normal draws from; above 0 the noisier timesteps come more often.
        std: of the normal that logit-normal draws from.
    """

    def __init__(
        self,
        betas: Float[Tensor, " T"],
        *,
        zero_snr: bool = False,
        sampling: Draw = "uniform",
        mean: float = 0.0,
        std: PositiveFloat = 1.0,
    ) -> None:
        alpha = (1 - betas).cumprod(0).sqrt()
        self.alpha = rescale_to_zero_snr(alpha) if zero_snr else alpha
        self.sigma = (1 - self.alpha**2).sqrt()
        self.sampling, self.mean, self.std = sampling, mean, std
        self.timesteps: int | None = len(betas)
        # "sqrt" comes so near to alpha = 0 that float32 cannot tell: nothing can be divided by it.
        self.zero_snr = bool(self.alpha[-1] < torch.finfo(torch.float32).eps)
        log_snr = 2 * (self.alpha.log() - self.sigma.log())
        # Interpolation needs a number where alpha is 0; integer timesteps do not come here.
        self._log_snr = log_snr.nan_to_num(neginf=float(log_snr[-2]) - 30)

    @property
    def last(self) -> int:
        """The noisiest timestep, T - 1."""
        return len(self.alpha) - 1

    def level(self, t: Tensor, size: tuple[int, int] | None = None) -> Level:
        """The level at timestep t (T - 1); `size` makes no difference."""
        timestep = (t.double() * self.last).clamp(0, self.last)
        nearest = timestep.round()
        exact = (timestep - nearest).abs() < SNAP
        timestep = torch.where(exact, nearest, timestep)
        log_snr = self._interpolate(timestep)
        alpha, sigma = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
        index = nearest.long()
        alpha = torch.where(exact, self.alpha.to(t.device)[index], alpha)
        return Level(alpha, torch.where(exact, self.sigma.to(t.device)[index], sigma), timestep)

    def draw(
        self, n: int, generator: torch.Generator | None, size: tuple[int, int] | None = None
    ) -> Float[Tensor, " n"]:
        """n integer timesteps as t, uniform or logit-normal."""
        device = generator.device if generator else None
        if self.sampling == "uniform":
            return torch.randint(self.last + 1, (n,), generator=generator, device=device).double() / self.last
        normal = torch.randn(n, generator=generator, device=device, dtype=torch.float64)
        return ((self.mean + self.std * normal).sigmoid() * self.last).round() / self.last

    def invert(self, log_snr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The t whose level has this log-SNR; the nearest end for one outside the table."""
        falling = self._log_snr.to(log_snr.device)
        log_ratio = log_snr.double().clamp(falling[-1], falling[0])
        i = torch.searchsorted(-falling, -log_ratio).clamp(1, self.last)
        fraction = (falling[i - 1] - log_ratio) / (falling[i - 1] - falling[i])
        return (i - 1 + fraction) / self.last

    def _interpolate(self, timestep: Tensor) -> Tensor:
        table = self._log_snr.to(timestep.device)
        i = timestep.long().clamp(max=self.last - 1)
        return torch.lerp(table[i], table[i + 1], timestep - i)


def rescale_to_zero_snr(alpha: Float[Tensor, " T"]) -> Float[Tensor, " T"]:
    """sqrt(alpha_bar) shifted and scaled so that it starts where it did and ends on 0.

    Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1.
    """
    return (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))


class ScaledLinear(DiscreteSchedule):
    """beta from `start` to `end`, linear in sqrt(beta): what latent diffusion calls "linear".

    Others call it "scaled linear". Source: Rombach et al. 2022, the published configurations.

    Args:
        start: beta of the first timestep.
        end: beta of the last timestep.
        steps: number of timesteps T.
    """

    def __init__(
        self,
        *,
        start: Beta = 0.0015,
        end: Beta = 0.0195,
        steps: Timesteps = 1000,
        **options: Any,
    ) -> None:
        super().__init__(_ramp(start**0.5, end**0.5, steps) ** 2, **options)


class Linear(DiscreteSchedule):
    """beta from `start` to `end`, linear in beta itself: what latent diffusion calls "sqrt_linear".

    Source: Ho et al. 2020, section 4 (there simply "linear").

    Args:
        start: beta of the first timestep.
        end: beta of the last timestep.
        steps: number of timesteps T.
    """

    def __init__(
        self,
        *,
        start: Beta = 1e-4,
        end: Beta = 2e-2,
        steps: Timesteps = 1000,
        **options: Any,
    ) -> None:
        super().__init__(_ramp(start, end, steps), **options)


class Sqrt(DiscreteSchedule):
    """beta = the square root of a linear ramp from `start` to `end`.

    With the default ends the SNR falls below what float32 can tell from zero, so `zero_snr` is true.
    Source: the published latent diffusion code, schedule "sqrt".

    Args:
        start: the ramp's first value (beta is its square root).
        end: the ramp's last value.
        steps: number of timesteps T.
    """

    def __init__(
        self,
        *,
        start: Beta = 1e-4,
        end: Beta = 2e-2,
        steps: Timesteps = 1000,
        **options: Any,
    ) -> None:
        super().__init__(_ramp(start, end, steps) ** 0.5, **options)


class Cosine(DiscreteSchedule):
    """A schedule whose alpha_bar = alpha^2 falls from 1 to 0 as a squared cosine of the timestep.

    Each beta = 1 - alpha_bar_t / alpha_bar_(t - 1) is at most `clip`, so that the last is below 1.

    Source: Nichol and Dhariwal 2021, equation 17.

    Args:
        offset: s of the equation; keeps the first betas from vanishing.
        clip: the largest beta.
        steps: number of timesteps T.
    """

    def __init__(
        self,
        *,
        offset: NonNegativeFloat = 0.008,
        clip: Beta = 0.999,
        steps: Timesteps = 1000,
        **options: Any,
    ) -> None:
        phase = (_ramp(0, 1, steps + 1) + offset) / (1 + offset) * (math.pi / 2)
        alpha_bar = phase.cos() ** 2
        betas = (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=clip)
        super().__init__(betas, **options)


def _ramp(start: float, end: float, n: int) -> Float[Tensor, " n"]:
    # Numbers even where modules are built without memory (the meta device): a table is not a weight.
    return torch.linspace(start, end, n, dtype=torch.float64, device="cpu")
