"""Data whose estimate is known in closed form: every entry of the latent is drawn from a mixture of normals.

The distribution of an entry is known exactly at every noise level, and the probability flow keeps the rank of
an entry in it, since the flow is monotone in one dimension. The error of a sampler therefore needs no
reference solver: it is how far ranks moved, and how far they are from uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ldmkit.interfaces import EstimateFunction, Objective
from ldmkit.testing.diffusion import output_for
from ldmkit.types import Estimate, Latent, Level


@dataclass(frozen=True)
class Mixture:
    """Normals of equal weight around `means`, each of standard deviation `std`, independent in every
    entry."""

    means: tuple[float, ...] = (-1.4, 0.5, 0.9)
    std: float = 0.25

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Latent:
        """Clean latents of that shape in float64."""
        which = torch.randint(len(self.means), shape, generator=generator)
        spread = torch.randn(shape, generator=generator, dtype=torch.float64)
        return torch.tensor(self.means, dtype=torch.float64)[which] + self.std * spread

    def estimate(self, z: Latent, level: Level) -> Estimate:
        """The exact estimate: E[clean | z_t] and E[noise | z_t]."""
        at = level.like(z)
        gap = z[..., None] - at.alpha[..., None] * self._means(z)
        variance = (at.alpha * self.std) ** 2 + at.sigma**2
        responsible = (-(gap**2) / (2 * variance[..., None])).softmax(-1)
        mean_gap = (responsible * gap).sum(-1)
        mean = (responsible * self._means(z)).sum(-1)
        clean = mean + at.alpha * self.std**2 / variance * mean_gap
        return Estimate(clean, at.sigma / variance * mean_gap)

    def rank(self, z: Latent, level: Level) -> Float[Tensor, "b c h w"]:
        """The distribution function of each entry at this level, in [0, 1]; true samples are uniform in
        it."""
        at = level.like(z)
        std = ((at.alpha * self.std) ** 2 + at.sigma**2).sqrt()
        gap = z[..., None] - at.alpha[..., None] * self._means(z)
        return torch.special.ndtr(gap / std[..., None]).mean(-1)

    def network(self, objective: Objective) -> EstimateFunction:
        """The estimate of an objective whose network is perfect: the exact one, by way of the network's
        output."""

        def estimate(z: Latent, level: Level) -> Estimate:
            exact = self.estimate(z, level)
            return objective.estimate(output_for(objective, exact.clean, exact.noise, level), z, level)

        return estimate

    def _means(self, z: Latent) -> Tensor:
        return torch.tensor(self.means).to(z)


def moved(start: Tensor, end: Tensor) -> float:
    """The mean distance by which a deterministic sampler moved ranks; 0 for an exact one."""
    return float((end - start).abs().mean())


def unevenness(ranks: Tensor) -> float:
    """The Wasserstein distance of ranks from the uniform distribution; about 0.4 / sqrt(n) for n true
    samples."""
    ordered = ranks.flatten().sort().values
    n = ordered.numel()
    return float((ordered - (torch.arange(n, dtype=ordered.dtype) + 0.5) / n).abs().mean())
