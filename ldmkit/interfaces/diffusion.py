"""The diffusion process: noise levels, what the network predicts, guidance, samplers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ldmkit.types import (
    Conditions,
    Estimate,
    Latent,
    Level,
    Levels,
    NoiseSource,
    PerPicture,
    Request,
)

EstimateFunction = Callable[[Latent, Level], Estimate]
"""estimate(z_t, level): what a sampler calls; guidance and the network are inside."""


ConditionedEstimate = Callable[[Latent, Level, Sequence[Conditions]], Sequence[Estimate]]
"""estimate(z_t, level, [conditions, ...]): one estimate for each entry, computed in one batched pass."""


class NoiseSchedule(Protocol):
    """Which noise levels there are. t in [0, 1], 0 the cleanest. `size`: latent (h, w), for schedules that
    shift with the resolution. `timesteps`: T where the levels are a table, None where they are continuous;
    `zero_snr`: alpha vanishes at t = 1."""

    timesteps: int | None
    zero_snr: bool

    def level(self, t: Tensor, size: tuple[int, int] | None = None) -> Level:
        """alpha, sigma and time at t."""

    def draw(self, n: int, generator: torch.Generator | None, size: tuple[int, int] | None = None) -> Tensor:
        """n random t as the training distribution wants them."""

    def invert(self, log_snr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The t at which log(alpha^2 / sigma^2) has that value."""


class Spacing(Protocol):
    """A function that chooses the levels of n steps."""

    def __call__(self, schedule: NoiseSchedule, steps: int, size: tuple[int, int] | None = None) -> Levels:
        """n + 1 levels, noisiest first; the last is the schedule's first one or clean (alpha 1, sigma 0)."""


class Objective(Protocol):
    """What the network's raw output means and how it is trained."""

    def out_channels(self, latent_channels: int) -> int:
        """Channels that the denoiser must put out."""

    def scale_input(self, z: Latent, level: Level) -> Latent:
        """What the network is shown instead of z_t (EDM's c_in; else z_t itself)."""

    def loss(self, raw: Latent, clean: Latent, noise: Latent, level: Level) -> PerPicture:
        """The weighted training loss of each picture: mean over channels and positions."""

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """The clean latent and the noise that `raw` stands for."""

    def check(self, schedule: NoiseSchedule) -> None:
        """Raises ValueError where the objective makes no sense on the schedule (epsilon at zero SNR)."""


class Guidance(Protocol):
    """Wraps an estimate by another; several stack, the first of the recipe innermost.

    Two members are optional. `fields: tuple[str, ...]` names the raw inputs that it reads of the request, so
    that the command line and recipes accept them beside those of conditioners. `finish(image, request) ->
    image` is given the decoded pictures and has the last word on their pixels.
    """

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The guided estimate. Raises ValueError in plain words where the request does not fit."""


class Sampler(Protocol):
    """A short function from noise to latent, with keyword-only parameters for recipes."""

    def __call__(self, estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
        """z at levels[0] to a latent at levels[-1]; calls noise(i) at step i where it is stochastic."""
