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
    """The noise levels as a function of t in [0, 1]; t = 0 is the cleanest.

    size: the latent's (h, w), for schedules that shift with the resolution. timesteps: T of a discrete
    schedule, None for a continuous one. zero_snr: alpha is 0 at t = 1.
    """

    timesteps: int | None
    zero_snr: bool

    def level(self, t: Tensor, size: tuple[int, int] | None = None) -> Level:
        """alpha, sigma and time at t."""

    def draw(self, n: int, generator: torch.Generator | None, size: tuple[int, int] | None = None) -> Tensor:
        """n values of t drawn from the training distribution."""

    def invert(self, log_snr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The t at which log(alpha^2 / sigma^2) is `log_snr`."""


class Spacing(Protocol):
    """A function that chooses the levels of n steps."""

    def __call__(self, schedule: NoiseSchedule, steps: int, size: tuple[int, int] | None = None) -> Levels:
        """n + 1 levels, noisiest first; the last is the schedule's first one or clean (alpha 1, sigma 0)."""


class Objective(Protocol):
    """What the network predicts (epsilon, v, the clean latent...) and its training loss."""

    def out_channels(self, latent_channels: int) -> int:
        """Output channels of the denoiser."""

    def scale_input(self, z: Latent, level: Level) -> Latent:
        """The network's input: c_in z_t for EDM, else z_t."""

    def loss(self, raw: Latent, clean: Latent, noise: Latent, level: Level) -> PerPicture:
        """The weighted training loss of each picture: mean over channels and positions."""

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """The prediction `raw` as clean latent and noise."""

    def check(self, schedule: NoiseSchedule) -> None:
        """Raises ValueError where the objective is undefined on the schedule (epsilon at zero SNR)."""


class Guidance(Protocol):
    """Wraps an estimate. Several guidance components stack; the recipe's first is the innermost.

    Five members are optional. `fields: tuple[str, ...]` names the raw inputs that it reads from the request;
    the command line and recipes then accept them as they do conditioners' fields. `kinds: Mapping[str,
    FieldKind]` says what they hold, as `ConditionSpec.kinds` does: a number given for a text is its text, and
    data cut pictures, masks and maps of fields as their pictures. `check_inputs(raw, size)`
    raises ValueError for raw inputs that it cannot read or that do not fit pictures of that (height, width),
    None where the size is not known yet; it is called before there are any weights. `finish(image, request)
    -> image` is called with the decoded pictures and returns the final ones. `reads_null: bool` says that it
    asks the network under the null conditions: where training never shows them, that is told.
    """

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The guided estimate. Raises ValueError in plain words where the request does not fit."""


class Sampler(Protocol):
    """A function from noise to latent; its keyword-only parameters are what recipes set."""

    def __call__(self, estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
        """Integrates z from levels[0] to levels[-1]. A stochastic sampler calls noise(i) at step i."""
