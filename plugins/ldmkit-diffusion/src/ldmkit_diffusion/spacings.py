"""Spacings: the n + 1 noise levels of n steps, noisiest first.

On a table the chosen timesteps are integers (Karras's excepted); on a continuous schedule the same spacing is
taken in t. n is at least 1 and, on a table, at most T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat

from ldmkit.interfaces import NoiseSchedule
from ldmkit.types import Levels

Size = tuple[int, int] | None
Fraction = Annotated[float, Field(ge=0, lt=1)]
End = Literal["first", "clean"]

EDM_RANGE = (0.002, 80.0)
"""The range of sigma / alpha in Karras et al. 2022, used where a schedule's own ends are 0 or infinite."""
ENDLESS = 1e3
"""The sigma / alpha above which a latent shows nothing of the picture, so that levels there would be
wasted."""


def leading(
    schedule: NoiseSchedule,
    steps: int,
    size: Size = None,
    *,
    offset: NonNegativeInt = 1,
    spare: bool = False,
    end: End = "first",
) -> Levels:
    """Timesteps 1 + k T/n as published with latent diffusion; ends on the schedule's first level.

    n = T visits every timestep and ends on clean. Continuous: t = 1 - k/n, which ends on t = 0. The published
    positions leave out the noisiest timesteps; for few steps take trailing. Source: the published DDIM
    sampler, "uniform" (which for an n that does not divide T makes another number of steps).

    Args:
        offset: added to every timestep: 1 as published, 0 for those that begin at 0. None may exceed T - 1.
        spare: divide T into n + 1 whole parts and leave the cleanest out, as DPM-Solver's and UniPC's code.
        end: the last level: the schedule's "first" one, or "clean" (alpha 1, sigma 0).
    """
    T = _timesteps(schedule, steps)
    if T is None:
        return _levels(schedule, [k / steps for k in range(steps, -1, -1)], size)
    gaps = range(steps, 0, -1) if spare else range(steps - 1, -1, -1)
    above = [0] if steps == T else [k * (T // (steps + 1)) if spare else k * T // steps for k in gaps]
    if (most := T - 1 - above[0]) < offset:
        raise ValueError(f"offset {offset} leads beyond the last timestep: with {steps} steps at most {most}")
    if steps == T:
        return _ending_clean(schedule, _to_t(range(T - 1, -1, -1), T), size)
    return _ending(end, schedule, _to_t([offset + t for t in above], T), size)


def trailing(schedule: NoiseSchedule, steps: int, size: Size = None, *, end: End = "clean") -> Levels:
    """Begins at the noisiest timestep T - 1, takes steps of T/n timesteps, and ends on the clean latent.

    On a continuous schedule the levels are at t = 1 - k/n for k from 0 to n - 1. Source: Lin et al. 2023,
    section 3.3.

    Args:
        end: the last level: "clean" (alpha 1, sigma 0), or the schedule's "first" one.
    """
    T = _timesteps(schedule, steps)
    if T is None:
        return _ending(end, schedule, [k / steps for k in range(steps, 0, -1)], size)
    timesteps = (torch.arange(steps, 0, -1).double() * T / steps).round() - 1
    return _ending(end, schedule, _to_t(timesteps.tolist(), T), size)


def linspace(
    schedule: NoiseSchedule,
    steps: int,
    size: Size = None,
    *,
    lowest: Fraction = 0.0,
    spare: bool = False,
    whole: bool = True,
    end: End = "clean",
) -> Levels:
    """Visits n timesteps, evenly spaced from T - 1 to 0 and rounded, and ends on the clean latent.

    On a continuous schedule t goes from 1 to 0; where t = 0 is clean already, it is `trailing`.
    Source: Nichol and Dhariwal 2021, section 4.

    Args:
        lowest: the last t that is visited, in [0, 1].
        spare: space n + 1 timesteps and leave the cleanest out, as DPM-Solver's and UniPC's code.
        whole: round timesteps to whole ones; else levels between two are interpolated in log-SNR.
        end: the last level: "clean" (alpha 1, sigma 0), or the schedule's "first" one.
    """
    T = _timesteps(schedule, steps)
    if T is None and lowest == 0 and float(_levels(schedule, [0.0], size).sigma) == 0:
        return trailing(schedule, steps, size, end=end)
    even = torch.linspace(1, lowest, steps + spare, dtype=torch.float64)[:steps]
    t = even.tolist() if T is None or not whole else _to_t((even * (T - 1)).round().tolist(), T)
    return _ending(end, schedule, t, size)


def quadratic(schedule: NoiseSchedule, steps: int, size: Size = None) -> Levels:
    """Timesteps whose square roots are even, more of them near clean; ends on the schedule's first level.

    int(linspace(0, sqrt(0.8 T), n)^2) + 1 as published: a large n visits the cleanest timesteps repeatedly.
    Continuous: t = (k/n)^2. Source: the published DDIM sampler, "quad"; Song et al. 2021, appendix D.
    """
    T = _timesteps(schedule, steps)
    if T is None:
        return _levels(schedule, [(k / steps) ** 2 for k in range(steps, -1, -1)], size)
    roots = np.linspace(0, math.sqrt(0.8 * T), steps)  # numpy's rounding decides some of the positions
    timesteps = np.minimum((roots**2).astype(int) + 1, T - 1)
    return _levels(schedule, _to_t([*timesteps[::-1].tolist(), 0], T), size)


def karras(
    schedule: NoiseSchedule,
    steps: int,
    size: Size = None,
    *,
    rho: PositiveFloat = 7.0,
    sigma_min: PositiveFloat | None = None,
    sigma_max: PositiveFloat | None = None,
    whole: bool = False,
    end: End = "clean",
) -> Levels:
    """Even in (sigma / alpha)^(1/rho) between the schedule's own ends; then clean.

    Source: Karras et al. 2022, equation 5. Where a schedule ends in hardly anything but noise the first level
    is that end, and the others start at sigma_max.

    Args:
        rho: how much denser the levels get towards clean.
        sigma_min: the last sigma / alpha before clean; by default the schedule's (0.002 where that is 0).
        sigma_max: the first sigma / alpha; by default the schedule's (80 where that is beyond 1000).
        whole: tell the network the nearest whole timestep, as DPM-Solver's code; sigma stays what it is.
        end: the last level: "clean" (alpha 1, sigma 0), or the schedule's "first" one.
    """
    _timesteps(schedule, steps)
    ends = _levels(schedule, [0.0, 1.0], size)
    least, most = (ends.sigma / ends.alpha).tolist()
    endless = sigma_max is None and most > ENDLESS
    low, high = sigma_min or least or EDM_RANGE[0], sigma_max or (EDM_RANGE[1] if endless else most)
    if low >= high:
        raise ValueError(f"sigma_min {low:g} must be below sigma_max {high:g}")
    roots = torch.linspace(high ** (1 / rho), low ** (1 / rho), steps, dtype=torch.float64)
    t = schedule.invert(-2 * rho * roots.log(), size)
    if endless:
        t[0] = 1.0
    levels = _ending(end, schedule, t.tolist(), size)
    return Levels(levels.alpha, levels.sigma, levels.time.round()) if whole else levels


def _timesteps(schedule: NoiseSchedule, steps: int) -> int | None:
    """The schedule's T; ValueError for a number of steps that it cannot make."""
    T = schedule.timesteps
    if steps < 1 or (T is not None and steps > T):
        raise ValueError(f"{steps} steps: must be at least 1" + (f" and at most {T}" if T else ""))
    return T


def _to_t(timesteps: Sequence[float], T: int) -> list[float]:
    return [timestep / (T - 1) for timestep in timesteps]


def _levels(schedule: NoiseSchedule, t: Sequence[float], size: Size) -> Levels:
    return schedule.level(torch.tensor(t, dtype=torch.float64), size)


def _ending(end: End, schedule: NoiseSchedule, t: Sequence[float], size: Size) -> Levels:
    return _levels(schedule, [*t, 0.0], size) if end == "first" else _ending_clean(schedule, t, size)


def _ending_clean(schedule: NoiseSchedule, t: Sequence[float], size: Size) -> Levels:
    """The levels at t, then alpha 1 and sigma 0; the time of that is the first level's."""
    levels, first = _levels(schedule, t, size), _levels(schedule, [0.0], size)
    one = torch.ones_like(first.alpha)
    return Levels(
        torch.cat([levels.alpha, one]),
        torch.cat([levels.sigma, 0 * one]),
        torch.cat([levels.time, first.time]),
    )
