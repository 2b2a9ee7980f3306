"""Where the first and the last step of a scheduler are not those of our samplers: it is told."""

from __future__ import annotations

import math
from typing import Any

import torch

from ldmkit_formats.diffusers.schedulers.reading import Reading

NOISE = 1e-3
"""sqrt(alphas_cumprod) below which a level counts as noise alone."""
MOST = 100_000
"""Timesteps of a table that is computed here; the schedule refuses what is far from any."""
SLOPES = ("heun", "plms")
"""Samplers of higher order by differences of noise over sigma / alpha, which mean nothing there."""


def tell_ends(reading: Reading) -> None:
    """Notes on the first and last step of a table of betas that was read."""
    sampler, schedule = reading.recipe["sampler"]["name"], reading.recipe["schedule"]
    if schedule.get("zero_snr"):
        if reading.name not in ("DDIMScheduler", "DDPMScheduler"):
            reading.took(
                "rescale_betas_zero_snr", "schedule.zero_snr, exact here; there 2^-24 of alpha^2 are left"
            )
    elif _last_alpha(schedule) < NOISE:
        if sampler in SLOPES:
            reading.left(
                "beta_schedule", f"taken over, but {sampler} takes steps from noise alone in order 1"
            )
        if reading.recipe["sampler"]["spacing"]["name"] == "karras":
            reading.left(
                "use_karras_sigmas", "the level after the first, which is noise alone, is of sigma 80"
            )
    variance = reading.config.get("variance_type")
    if sampler == "ddpm" and variance in ("fixed_large", "learned_range") and _ends_above_zero(reading):
        reading.left("variance_type", "taken over, but the last step draws no noise here")


def _ends_above_zero(reading: Reading) -> bool:
    """Whether the last step is taken at a timestep above 0."""
    spacing = reading.recipe["sampler"]["spacing"]
    return spacing["name"] == "trailing" or spacing.get("offset", 0) > 0


def _last_alpha(schedule: dict[str, Any]) -> float:
    """sqrt of the product of 1 - beta over all timesteps; 1 for a table of unlikely length."""
    T = int(schedule["steps"])
    if not 0 < T <= MOST:
        return 1.0
    if schedule["name"] == "cosine":
        signal = [math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(T + 1)]
        betas = torch.tensor([min(1 - signal[i + 1] / signal[i], 0.999) for i in range(T)])
    else:
        power = 2 if schedule["name"] == "scaled-linear" else 1
        start, end = (float(schedule[key]) ** (1 / power) for key in ("start", "end"))
        betas = torch.linspace(start, end, T, dtype=torch.float64) ** power
    return float((1 - betas.double()).clamp_min(0).log().sum().div(2).exp())
