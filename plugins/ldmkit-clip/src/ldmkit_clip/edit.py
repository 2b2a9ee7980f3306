"""One picture moved by guidance alone, in the latent space of a compression model."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from ldmkit.interfaces import EstimateFunction
from ldmkit.types import Latent, Level, Levels, NoiseSource

HALF = Level(*(torch.tensor(x, dtype=torch.float64) for x in (0.5**0.5, 0.5**0.5, 0.0)))
"""Guidance by a gradient moves a clean estimate by a factor of sigma: at sigma 0 not at all."""
BETAS, EPS = (0.9, 0.99), 1e-8


def latent_edit(
    estimate: EstimateFunction,
    z: Latent,
    levels: Levels,
    noise: NoiseSource,
    *,
    rate: PositiveFloat = 0.05,
    keep: NonNegativeFloat = 0.5,
) -> Latent:
    """Moves latents where guidance moves their clean estimate: Adam's rule, a step for each of the sampler's.

    For a recipe of a compression model and guidance alone, whose clean estimate is the latent itself: a
    picture given by `init` is moved towards a text. No noise is added and none removed.
    Source: Rombach et al. 2022, section 3.1 (single-image synthesis in the latent space); Kingma and Ba 2015.

    Args:
        rate: how far a step goes, in standard deviations of the latent.
        keep: how strongly the start attracts, as a part of guidance's root mean square at the first step
            for every standard deviation that a latent has moved.
    """
    start, moments = z, (torch.zeros_like(z), torch.zeros_like(z))
    pull: Tensor | None = None
    for n in range(1, len(levels)):
        move = estimate(z, HALF).clean - z
        if pull is None:
            pull = keep * move.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        z, moments = _adam(z, move + pull * (start - z), moments, n, rate)
    return z


def _adam(
    z: Latent, uphill: Latent, moments: tuple[Latent, Latent], n: int, rate: float
) -> tuple[Latent, tuple[Latent, Latent]]:
    first = BETAS[0] * moments[0] + (1 - BETAS[0]) * uphill
    second = BETAS[1] * moments[1] + (1 - BETAS[1]) * uphill.square()
    mean, variance = first / (1 - BETAS[0] ** n), second / (1 - BETAS[1] ** n)
    return z + rate * mean / (variance.sqrt() + EPS), (first, second)
