"""Samplers of one evaluation a step without memory.

All of them are one step: from z = alpha x + sigma e to alpha' x + sqrt(sigma'^2 - n^2) e + n noise, with the
estimate's clean x and noise e. It divides by neither, so it holds at both ends of any schedule.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ldmkit.interfaces import EstimateFunction
from ldmkit.types import Estimate, Latent, Level, Levels, NoiseSource

Eta = Annotated[float, Field(ge=0, le=1)]


def ddim(
    estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource, *, eta: Eta = 0.0
) -> Latent:
    """Denoising diffusion implicit models: deterministic, or with as much noise as `eta` says.

    Source: Song et al. 2021, equations 12 and 16.

    Args:
        eta: fresh noise as a part of the ancestral sampler's: 0 none, 1 all of it.
    """
    for i in range(len(levels) - 1):
        level, following = levels[i], levels[i + 1]
        spread = eta * posterior_std(level, following)
        z = step(estimate(z, level), following, spread, noise, i)
    return z


def step(estimate: Estimate, following: Level, spread: float, noise: NoiseSource, i: int) -> Latent:
    """alpha' clean + sqrt(sigma'^2 - spread^2) noise + spread * fresh noise."""
    alpha, sigma = float(following.alpha), float(following.sigma)
    kept = max(sigma**2 - spread**2, 0.0) ** 0.5
    z = alpha * estimate.clean + kept * estimate.noise
    return z + spread * noise(i).to(z) if spread > 0 else z


def posterior_std(level: Level, following: Level) -> float:
    """Standard deviation of q(z' | z, x), the square root of beta-tilde, between any two levels.

    sigma'/sigma sqrt(sigma^2 - (alpha/alpha')^2 sigma'^2): Ho et al. 2020, equation 7, in general.
    """
    a, s, a2, s2 = (float(x) for x in (level.alpha, level.sigma, following.alpha, following.sigma))
    return s2 / s * max(s**2 - (a / a2 * s2) ** 2, 0.0) ** 0.5 if s > 0 else 0.0
