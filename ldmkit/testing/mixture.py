"""Data whose estimate is known in closed form: a mixture of normals in every entry of the latent.

An entry's distribution at any noise level is known exactly, and the probability flow keeps each entry's rank
in it (in one dimension the flow is monotone). So a sampler's error needs no reference solver: it is how far
ranks moved, and how far ranks are from uniform.
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
    """Normals of equal weight at `means`, each of standard deviation `std`, independent in every entry."""

    means: tuple[float, ...] = (-1.4, 0.5, 0.9)
    std: float = 0.25

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Latent:
        """Clean latents, float64."""
        which = torch.randint(len(self.means), shape, generator=generator)
        spread = torch.randn(shape, generator=generator, dtype=torch.float64)
        return torch.tensor(self.means, dtype=torch.float64)[which] + self.std * spread

    def estimate(self, z: Latent, level: Level) -> Estimate:
        """E[clean | z_t] and E[noise | z_t]."""
        at = level.like(z)
        gap = z[..., None] - at.alpha[..., None] * self._means(z)
        variance = (at.alpha * self.std) ** 2 + at.sigma**2
        responsible = (-(gap**2) / (2 * variance[..., None])).softmax(-1)
        mean_gap = (responsible * gap).sum(-1)
        mean = (responsible * self._means(z)).sum(-1)
        clean = mean + at.alpha * self.std**2 / variance * mean_gap
        return Estimate(clean, at.sigma / variance * mean_gap)

    def rank(self, z: Latent, level: Level) -> Float[Tensor, "b c h w"]:
        """The distribution function at this level: between 0 and 1, uniform for true samples."""
        at = level.like(z)
        std = ((at.alpha * self.std) ** 2 + at.sigma**2).sqrt()
        gap = z[..., None] - at.alpha[..., None] * self._means(z)
        return torch.special.ndtr(gap / std[..., None]).mean(-1)

    def network(self, objective: Objective) -> EstimateFunction:
        """The estimate as it comes out of an objective whose network is perfect."""

        def estimate(z: Latent, level: Level) -> Estimate:
            exact = self.estimate(z, level)
            return objective.estimate(output_for(objective, exact.clean, exact.noise, level), z, level)

        return estimate

    def _means(self, z: Latent) -> Tensor:
        return torch.tensor(self.means).to(z)


def moved(start: Tensor, end: Tensor) -> float:
    """How far a deterministic sampler moved ranks, on average: 0 is exact."""
    return float((end - start).abs().mean())


def unevenness(ranks: Tensor) -> float:
    """Wasserstein distance of ranks from uniform: about 0.4 / sqrt(n) for n true samples."""
    ordered = ranks.flatten().sort().values
    n = ordered.numel()
    return float((ordered - (torch.arange(n, dtype=ordered.dtype) + 0.5) / n).abs().mean())
