"""What the network's output means: a linear combination of the clean latent and the noise."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from ldmkit.interfaces import NoiseSchedule
from ldmkit.types import Estimate, Latent, Level, PerPicture
from ldmkit_diffusion.linear_objective import LEAST_SIGMA, LinearObjective, Weighting, total
from ldmkit_diffusion.variance import learned_range_loss


class Epsilon(LinearObjective):
    """The network gives the noise: the paper's objective, E || eps - eps_theta(z_t, t) ||^2.

    With a learned variance the network has twice the latent's channels; the second half says where the step's
    log-variance lies between beta-tilde (-1) and beta (1), and learns from the variational bound alone.
    Source: Rombach et al. 2022, equation 2; Nichol and Dhariwal 2021, equations 15 and 16.

    Args:
        weighting: uniform; min-snr: min(SNR, gamma) / SNR; edm: 1 + 1 / SNR.
        variance: fixed (beta-tilde), or learned-range.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        *,
        variance: Literal["fixed", "learned-range"] = "fixed",
        **loss: Any,
    ) -> None:
        super().__init__(**loss)
        self.schedule = schedule
        self.learned = variance == "learned-range"

    def out_channels(self, latent_channels: int) -> int:
        """The latent's channels; twice as many with a learned variance."""
        return latent_channels * (1 + self.learned)

    def loss(self, raw: Latent, clean: Latent, noise: Latent, level: Level) -> PerPicture:
        """The weighted loss of each picture; with a learned variance, plus the term of the variational
        bound."""
        epsilon, *variance = self._halves(raw)
        simple = super().loss(epsilon, clean, noise, level)
        if not variance:
            return simple
        error = self.estimate(raw.detach(), level.add_noise(clean, noise), level).clean - clean
        return simple + learned_range_loss(self.schedule, level, error, (variance[0] + 1) / 2)

    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """eps."""
        return noise

    def sensitivity(self, level: Level) -> Tensor:
        """sigma / alpha."""
        return level.sigma / level.alpha

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """clean = (z_t - sigma eps) / alpha."""
        at = level.like(z)
        epsilon, *variance = self._halves(raw)
        clean = (z - at.sigma * epsilon) / at.alpha
        return Estimate(clean, epsilon, (variance[0] + 1) / 2 if variance else None)

    def check(self, schedule: NoiseSchedule) -> None:
        """ValueError at zero terminal SNR, where z_t is all noise and predicting it says nothing of the
        picture, and for a learned variance on a continuous schedule, which has no beta."""
        if schedule.zero_snr:
            raise ValueError("the schedule ends at zero SNR; take objective v, x0, flow or edm")
        if self.learned and schedule.timesteps is None:
            raise ValueError("a learned variance needs a schedule of timesteps, such as scaled-linear")

    def _halves(self, raw: Latent) -> tuple[Latent, ...]:
        return raw.chunk(2, dim=1) if self.learned else (raw,)


class Clean(LinearObjective):
    """The network gives the clean latent ("x0").

    Source: Ho et al. 2020, section 3.2; Ramesh et al. 2022, section 2.2.

    Args:
        weighting: uniform; min-snr: min(SNR, gamma); edm: SNR + 1.
    """

    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """z_0."""
        return clean

    def sensitivity(self, level: Level) -> Tensor:
        """1."""
        return torch.ones_like(level.alpha)

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """noise = (z_t - alpha clean) / sigma."""
        at = level.like(z)
        return Estimate(raw, (z - at.alpha * raw) / at.sigma.clamp(min=LEAST_SIGMA))


class Velocity(LinearObjective):
    """The network gives v = alpha eps - sigma z_0, over sqrt(alpha^2 + sigma^2) where that is not 1.

    Source: Salimans and Ho 2022, section 4 and appendix D.

    Args:
        weighting: uniform; min-snr: min(SNR, gamma) / (SNR + 1); edm: the same as uniform.
    """

    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """(alpha eps - sigma z_0) / sqrt(alpha^2 + sigma^2)."""
        return (level.alpha * noise - level.sigma * clean) / total(level)

    def sensitivity(self, level: Level) -> Tensor:
        """sigma / sqrt(alpha^2 + sigma^2)."""
        return level.sigma / total(level)

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """A rotation of (z_t, v), in which no divisor vanishes."""
        at = level.like(z)
        z, raw = z / total(at) ** 2, raw / total(at)
        return Estimate(at.alpha * z - at.sigma * raw, at.sigma * z + at.alpha * raw)


class Flow(LinearObjective):
    """The network gives eps - z_0, the direction of the straight path from picture to noise: rectified flow.

    Source: Liu et al. 2022, equation 1; Esser et al. 2024, section 2.

    Args:
        weighting: uniform; min-snr and edm weigh the clean latent's error.
    """

    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """eps - z_0."""
        return noise - clean

    def sensitivity(self, level: Level) -> Tensor:
        """sigma / (alpha + sigma)."""
        return level.sigma / (level.alpha + level.sigma)

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """clean = (z_t - sigma raw) / (alpha + sigma), noise = (z_t + alpha raw) / (alpha + sigma)."""
        at = level.like(z)
        both = at.alpha + at.sigma
        return Estimate((z - at.sigma * raw) / both, (z + at.alpha * raw) / both)


class EDM(LinearObjective):
    """EDM preconditioning: the network's input and target have unit variance at every level.

    Written for any alpha: with s = sigma / alpha it is c_in, c_skip and c_out as published, and it stays
    finite where alpha vanishes. Source: Karras et al. 2022, table 1.

    Args:
        sigma_data: standard deviation of the latents; 1 where their scale was measured.
        weighting: edm (the published one: the network's output counts the same at every level), uniform (the
            same), or min-snr.
    """

    def __init__(
        self,
        *,
        sigma_data: PositiveFloat = 1.0,
        weighting: Weighting = "edm",
        **loss: Any,
    ) -> None:
        super().__init__(weighting=weighting, **loss)
        self.sigma_data = sigma_data

    def scale_input(self, z: Latent, level: Level) -> Latent:
        """c_in(s) z_t / alpha = z_t / sqrt(sigma^2 + alpha^2 sigma_data^2)."""
        return z / self._total(level.like(z))

    def target(self, clean: Latent, noise: Latent, level: Level) -> Latent:
        """(clean - c_skip z_t / alpha) / c_out."""
        d = self.sigma_data
        return (level.sigma / d * clean - level.alpha * d * noise) / self._total(level)

    def sensitivity(self, level: Level) -> Tensor:
        """c_out."""
        return level.sigma * self.sigma_data / self._total(level)

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """clean = c_skip z_t / alpha + c_out raw, and the noise that goes with it."""
        at, d = level.like(z), self.sigma_data
        z, raw = z / self._total(at) ** 2, raw * d / self._total(at)
        return Estimate(at.alpha * d**2 * z + at.sigma * raw, at.sigma * z - at.alpha * raw)

    def _total(self, level: Level) -> Tensor:
        return torch.hypot(level.sigma, level.alpha * self.sigma_data)
