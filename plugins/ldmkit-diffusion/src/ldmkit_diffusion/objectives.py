"""What the network's output means: a linear combination of the clean latent and the noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ldmkit.interfaces import NoiseSchedule
from ldmkit.types import Estimate, Latent, Level, PerPicture

LossName = Literal["l1", "l2"]
Weighting = Literal["uniform", "min-snr"]
Gamma = Annotated[float, Field(gt=0)]


def distance(raw: Latent, target: Latent, loss: LossName) -> Latent:
    """|raw - target|, or its square, per element."""
    difference = raw - target
    return difference.abs() if loss == "l1" else difference.square()


class LinearObjective(ABC):
    """What the objectives share: the loss (l1 or l2, a mean over each picture) and its weighting."""

    def __init__(self, loss: LossName, weighting: Weighting, gamma: float) -> None:
        self.distance: LossName = loss
        self.weighting = weighting
        self.gamma = gamma

    def out_channels(self, latent_channels: int) -> int:
        """As many as the latent has."""
        return latent_channels

    def scale_input(self, z: Latent, level: Level) -> Latent:
        """The network is shown z_t itself."""
        return z

    def loss(self, raw: Latent, clean: Latent, noise: Latent, level: Level) -> PerPicture:
        """The weighted loss of each picture: mean over channels and positions."""
        each = distance(raw, self.target(clean, noise, level.like(clean)), self.distance)
        return each.flatten(1).mean(1) * self.weight(level).to(each)

    @abstractmethod
    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """What the network should say; `level` has the latent's shape."""

    @abstractmethod
    def leverage(self, level: Level) -> Tensor:
        """How far an error of the network's output moves the clean latent: |d clean / d raw|."""

    def weight(self, level: Level) -> Tensor:
        """1, or min(SNR, gamma) on the clean latent's error (Hang et al. 2023, section 3.4)."""
        if self.weighting == "uniform":
            return torch.ones_like(level.alpha)
        snr = (level.alpha / level.sigma.clamp(min=1e-6)) ** 2
        return snr.clamp(max=self.gamma) * self.leverage(level) ** 2

    def check(self, schedule: NoiseSchedule) -> None:  # noqa: B027 (most objectives accept any schedule)
        """Any schedule will do."""


class Epsilon(LinearObjective):
    """The network gives the noise: the paper's objective, E || eps - eps_theta(z_t, t) ||^2.

    Source: Rombach et al. 2022, equation 2; Ho et al. 2020, equation 14.

    Args:
        loss: l2, or l1 as some of the published models were trained with.
        weighting: uniform, or min-snr: min(SNR, gamma) / SNR (Hang et al. 2023).
        gamma: the SNR above which min-snr stops to weigh more.
    """

    def __init__(
        self, *, loss: LossName = "l2", weighting: Weighting = "uniform", gamma: Gamma = 5.0
    ) -> None:
        super().__init__(loss, weighting, gamma)

    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """eps."""
        return noise

    def leverage(self, level: Level) -> Tensor:
        """sigma / alpha."""
        return level.sigma / level.alpha

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """clean = (z_t - sigma eps) / alpha."""
        at = level.like(z)
        return Estimate((z - at.sigma * raw) / at.alpha, raw)

    def check(self, schedule: NoiseSchedule) -> None:
        """ValueError at zero terminal SNR: there the noise is all of z_t and says nothing of the picture."""
        if schedule.zero_snr:
            raise ValueError("needs a schedule whose SNR never reaches zero; take objective v, x0 or flow")
