"""Variances of the step back: q(z' | z_t, z_0) between any two levels, and the loss of a learned one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ldmkit.interfaces import NoiseSchedule
from ldmkit.types import Latent, Level, PerPicture


@dataclass(frozen=True)
class Back:
    """The step from `level` back to the cleaner `following`.

    beta = sigma^2 - (alpha / alpha')^2 sigma'^2, beta_tilde = beta sigma'^2 / sigma^2, and the mean's factor
    clean = alpha' beta / sigma^2: Ho et al. 2020, equations 6 and 7, for any alpha and sigma. Shaped as the
    levels are.
    """

    level: Level
    following: Level

    @property
    def beta(self) -> Tensor:
        """Variance of the step forward."""
        ratio = self.level.alpha / self.following.alpha
        return (self.level.sigma**2 - (ratio * self.following.sigma) ** 2).clamp(min=0)

    @property
    def beta_tilde(self) -> Tensor:
        """Variance of the step back when the clean latent is known."""
        return self.beta * (self.following.sigma / self.level.sigma) ** 2

    @property
    def clean(self) -> Tensor:
        """How much of the clean latent the posterior's mean takes."""
        return self.following.alpha * self.beta / self.level.sigma**2

    def log_variance(self, place: Latent) -> Latent:
        """From log beta-tilde (place 0) to log beta (place 1): Nichol and Dhariwal 2021, equation 15."""
        shape = (-1,) + (1,) * (place.ndim - 1) if self.beta.ndim else ()
        low, high = (x.log().to(place).reshape(shape) for x in (self.beta_tilde, self.beta))
        return low + place * (high - low)


def learned_range_loss(schedule: NoiseSchedule, level: Level, error: Latent, place: Latent) -> PerPicture:
    """T / 1000 times each picture's term of the bound, KL(q(z_{t-1} | z_t, z_0) || p), in bits a dimension.

    That is lambda L_vlb with lambda = 0.001 (Nichol and Dhariwal 2021, equation 16). `error` is that of the
    clean estimate, detached: the term trains `place` alone. At t = 0 beta-tilde is 0: t = 1 stands in.
    """
    T = schedule.timesteps
    if T is None:
        raise ValueError("a learned range needs a schedule of timesteps")
    t = level.time.round().clamp(min=1)
    back = Back(schedule.level(t / (T - 1)), schedule.level((t - 1) / (T - 1)))
    mean = back.clean.to(error).reshape(-1, 1, 1, 1) * error.detach()
    truth, log_variance = back.log_variance(place.detach() * 0), back.log_variance(place)
    kl = (log_variance - truth + (truth - log_variance).exp() - 1 + mean**2 * (-log_variance).exp()) / 2
    return kl.flatten(1).mean(1) * (T / 1000 / math.log(2))
