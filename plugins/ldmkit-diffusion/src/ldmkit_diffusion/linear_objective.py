"""What all objectives share: the loss, and its weighting over noise levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from ldmkit.interfaces import NoiseSchedule
from ldmkit.types import Latent, Level, PerPicture

LossName = Literal["l1", "l2"]
Weighting = Literal["uniform", "min-snr", "edm"]

LEAST_SIGMA = 1e-6
"""The smallest sigma by which an estimate is divided: below it there is practically no noise."""


class LinearObjective(ABC):
    """What the objectives share: the loss (l1 or l2, a mean over each picture) and its weighting.

    Args:
        loss: l2, or l1 as some of the published models were trained with.
        weighting: of noise levels; each objective says what uniform, min-snr and edm are for it.
        gamma: the SNR above which min-snr stops to weigh more.
    """

    sigma_data = 1.0

    def __init__(
        self, *, loss: LossName = "l2", weighting: Weighting = "uniform", gamma: PositiveFloat = 5.0
    ) -> None:
        self.distance = loss
        self.weighting = weighting
        self.gamma = gamma

    def out_channels(self, latent_channels: int) -> int:
        """The latent's channels."""
        return latent_channels

    def scale_input(self, z: Latent, level: Level) -> Latent:
        """z_t itself, brought to unit variance on schedules that let it grow (alpha = 1, sigma up to 80)."""
        return z / total(level).clamp(min=1).to(z).expand(len(z)).view(-1, 1, 1, 1)

    def loss(self, raw: Latent, clean: Latent, noise: Latent, level: Level) -> PerPicture:
        """The weighted loss of each picture: mean over channels and positions."""
        difference = raw - self.target(clean, noise, level.like(clean))
        each = difference.abs() if self.distance == "l1" else difference.square()
        return each.flatten(1).mean(1) * self.weight(level).to(each)

    def weight(self, level: Level) -> Tensor:
        """The factor of the loss at each level.

        uniform: 1. The others are factors of the clean latent's error, carried over to the raw output's:
        min(SNR, gamma) (Hang et al. 2023, section 3.4), SNR + 1 / sigma_data^2 (Karras et al. 2022, table 1).
        """
        if self.weighting == "uniform":
            return torch.ones_like(level.alpha)
        level = Level(level.alpha, level.sigma.clamp(min=LEAST_SIGMA), level.time)
        snr = (level.alpha / level.sigma) ** 2
        on_clean = snr.clamp(max=self.gamma) if self.weighting == "min-snr" else snr + self.sigma_data**-2
        return on_clean * self.sensitivity(level) ** 2

    @abstractmethod
    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """The target of the network's output; `level` has the latent's shape."""

    @abstractmethod
    def sensitivity(self, level: Level) -> Tensor:
        """How far an error of the network's output moves the clean latent: |d clean / d raw|."""

    def check(self, schedule: NoiseSchedule) -> None:  # noqa: B027 (most objectives accept any schedule)
        """Accepts any schedule."""


def total(level: Level) -> Tensor:
    """sqrt(alpha^2 + sigma^2): z_t's standard deviation where the data's is 1."""
    return torch.hypot(level.alpha, level.sigma)
