"""Single-step samplers: DDPM, DDIM, Euler, Euler ancestral, Heun.

The step of all of them goes from z = alpha x + sigma e to alpha' x + sqrt(sigma'^2 - n^2) e + n noise, with
the estimate's clean x and noise e. It divides by neither, so it holds at both ends of any schedule.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ldmkit.interfaces import EstimateFunction
from ldmkit.types import Estimate, Latent, Level, Levels, NoiseSource
from ldmkit_diffusion.variance import Back

Eta = Annotated[float, Field(ge=0, le=1)]

NEARLY_NOISE = 1e-3
"""Below this alpha z is all noise and slopes in sigma / alpha mean nothing: first order is near exact."""


def step(estimate: Estimate, following: Level, std: float = 0.0) -> Latent:
    """alpha' clean + sqrt(sigma'^2 - std^2) noise: the step, without fresh noise of that std."""
    kept = max(float(following.sigma) ** 2 - std**2, 0.0) ** 0.5
    return float(following.alpha) * estimate.clean + kept * estimate.noise


def slope(level: Level, following: Level) -> float:
    """What a change of the noise e adds to the first-order step: alpha' (sigma' / alpha' - sigma / alpha).

    The probability flow in y = z / alpha is dy = e d(sigma / alpha) (Song et al. 2021, equation 14). 0 where
    alpha vanishes: there the first-order step stays as it is.
    """
    if float(level.alpha) < NEARLY_NOISE:
        return 0.0
    return float(following.sigma - following.alpha * level.sigma / level.alpha)


def ddpm(
    estimate: EstimateFunction,
    z: Latent,
    levels: Levels,
    noise: NoiseSource,
    *,
    variance: Literal["small", "large"] = "small",
) -> Latent:
    """Ancestral sampling: each step draws from q(z' | z, clean), the last one takes its mean.

    A network that learns its variance decides it within its range.
    Stochastic; order 1, one evaluation a step.
    Source: Ho et al. 2020, equations 6, 7 and algorithm 2.

    Args:
        variance: of a step where the network does not learn it: "small" is beta-tilde between the two
            levels, "large" is beta (the two choices of Ho et al. 2020, section 3.2).
    """
    n = len(levels) - 1
    for i in range(n):
        back, prediction = Back(levels[i], levels[i + 1]), estimate(z, levels[i])
        std = float(back.beta_tilde) ** 0.5
        z = step(prediction, levels[i + 1], std)
        if i < n - 1 and std > 0:
            z = z + _std(back, prediction, back.beta if variance == "large" else back.beta_tilde) * noise(
                i
            ).to(z)
    return z


def _std(back: Back, prediction: Estimate, fixed: Tensor) -> float | Latent:
    if prediction.variance_range is None:
        return float(fixed) ** 0.5
    return (back.log_variance(prediction.variance_range) / 2).exp()


def ddim(
    estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource, *, eta: Eta = 0.0
) -> Latent:
    """Denoising diffusion implicit models: deterministic, or with as much fresh noise as `eta` says.

    Order 1, one evaluation a step. Source: Song et al. 2021, equations 12 and 16.

    Args:
        eta: fresh noise as a part of the ancestral sampler's: 0 none, 1 all of it.
    """
    for i in range(len(levels) - 1):
        std = eta * float(Back(levels[i], levels[i + 1]).beta_tilde) ** 0.5 if eta > 0 else 0.0
        z = step(estimate(z, levels[i]), levels[i + 1], std)
        if std > 0:
            z = z + std * noise(i).to(z)
    return z


def euler(estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
    """Euler's method on the probability flow in sigma / alpha: the same step as deterministic DDIM.

    On the flow schedule it is z + (t' - t) velocity. Deterministic; order 1, one evaluation a step.
    Source: Karras et al. 2022, algorithm 1, without its second-order correction.
    """
    return ddim(estimate, z, levels, noise)


def euler_ancestral(
    estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource, *, eta: Eta = 1.0
) -> Latent:
    """An Euler step to below the next level, then fresh noise up to it: the same step as DDIM with that eta.

    Stochastic; order 1, one evaluation a step. Source: Crowson's k-diffusion, where it got its
    name; Song et al. 2021, equation 16.

    Args:
        eta: fresh noise as a part of the ancestral sampler's.
    """
    return ddim(estimate, z, levels, noise, eta=eta)


def heun(estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
    """Heun's method on the probability flow in sigma / alpha.

    Deterministic; order 2, two evaluations a step. Where alpha or the next sigma vanishes, as in the last
    step, it is one evaluation of order 1. Source: Karras et al. 2022, algorithm 1.
    """
    for i in range(len(levels) - 1):
        level, following = levels[i], levels[i + 1]
        prediction = estimate(z, level)
        z = step(prediction, following)
        change = slope(level, following)
        if change != 0 and float(following.sigma) > 0:
            z = z + change / 2 * (estimate(z, following).noise - prediction.noise)
    return z
