"""Multistep samplers: PLMS, DPM-Solver++ 2M and its SDE form. One evaluation per step."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import NonNegativeFloat

from ldmkit.interfaces import EstimateFunction
from ldmkit.types import Estimate, Latent, Level, Levels, NoiseSource
from ldmkit_diffusion.samplers import slope, step

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def plms(
    estimate: EstimateFunction,
    z: Latent,
    levels: Levels,
    noise: NoiseSource,
    *,
    average: Literal["noise", "v"] = "noise",
) -> Latent:
    """Pseudo linear multistep: Adams-Bashforth on the noise; the first step averages two.

    Deterministic; order 1 to 4, rising over the first four steps; one evaluation a step (two in the first).
    Source: Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds"; the start is that
    of the published latent diffusion code.

    Args:
        average: what is averaged over steps: the noise as in the paper, or v = alpha noise - sigma clean, as
            diffusers' PNDM does for networks that predict v.
    """
    past: list[Latent] = []
    for i in range(len(levels) - 1):
        level, following = levels[i], levels[i + 1]
        prediction = estimate(z, level)
        own = _averaged(prediction, level, average)
        z, change = step(prediction, following), slope(level, following)
        if average == "v":  # at one z the noise is alpha v + sigma z
            change *= float(level.alpha)
        past = [own, *past[:3]]
        if len(past) > 1:
            z = z + change * (_combined(past) - own)
        elif change != 0 and float(following.sigma) > 0:
            z = z + change / 2 * (_averaged(estimate(z, following), following, average) - own)
    return z


def _averaged(prediction: Estimate, level: Level, average: str) -> Latent:
    return (
        prediction.noise
        if average == "noise"
        else level.alpha * prediction.noise - level.sigma * prediction.clean
    )


def _combined(past: list[Latent]) -> Latent:
    return sum((w * e for w, e in zip(ADAMS_BASHFORTH[len(past) - 1], past, strict=True)), 0 * past[0])


def dpmpp_2m(estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
    """DPM-Solver++ 2M: second order in log-SNR, from the current clean estimate and the one before.

    Deterministic; order 2 (1 at the start and where alpha or sigma vanishes), one evaluation a step.
    Source: Lu et al. 2022, "DPM-Solver++", algorithm 2.
    """
    return dpmpp_2m_sde(estimate, z, levels, noise, eta=0.0)


def dpmpp_2m_sde(
    estimate: EstimateFunction,
    z: Latent,
    levels: Levels,
    noise: NoiseSource,
    *,
    eta: NonNegativeFloat = 1.0,
) -> Latent:
    """SDE-DPM-Solver++ 2M (midpoint): DPM-Solver++ 2M that adds fresh noise at every step.

    Stochastic; order 2 (1 at the start and where alpha or sigma vanishes), one evaluation a step.
    Source: Lu et al. 2022, "DPM-Solver++", SDE-DPM-Solver++(2M).

    Args:
        eta: how much noise is renewed a step: 1 as in the paper, 0 none.
    """
    last: tuple[float, Latent] | None = None
    for i in range(len(levels) - 1):
        level, following = levels[i], levels[i + 1]
        prediction, h = estimate(z, level), log_ratio(following) - log_ratio(level)
        std = float(following.sigma) * math.sqrt(-math.expm1(-2 * eta * h)) if eta > 0 else 0.0
        z = step(prediction, following, std)
        if std > 0:
            z = z + std * noise(i).to(z)
        if last is not None and last[0] > 0 and math.isfinite(h):
            gain = -float(following.alpha) * math.expm1(-(1 + eta) * h)
            z = z + gain * h / last[0] / 2 * (prediction.clean - last[1])
        last = (h, prediction.clean)
    return z


def log_ratio(level: Level) -> float:
    """log(alpha / sigma), half the log-SNR; infinite at the ends."""
    return float(level.log_snr) / 2
