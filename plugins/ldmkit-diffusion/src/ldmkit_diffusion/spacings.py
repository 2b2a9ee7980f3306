"""Which n + 1 levels n steps visit, noisiest first.

On a table the chosen timesteps are integers (Karras's excepted); on a continuous schedule the same spacing is
taken in t. For n = T leading visits every timestep and ends on clean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ldmkit.interfaces import NoiseSchedule
from ldmkit.types import Levels

Size = tuple[int, int] | None


def leading(schedule: NoiseSchedule, steps: int, size: Size = None) -> Levels:
    """Timesteps 1 + k T/n as published with latent diffusion; ends on the schedule's first level.

    Continuous: t = 1 - k/n, which ends on t = 0. The published positions leave out the noisiest timesteps;
    for few steps take trailing. Source: the published DDIM sampler, "uniform".
    """
    T = _timesteps(schedule, steps)
    if T is None:
        return _levels(schedule, [k / steps for k in range(steps, -1, -1)], size)
    if steps == T:
        return _ending_clean(schedule, _to_t(range(T - 1, -1, -1), T), size)
    return _levels(schedule, _to_t([*(1 + k * T // steps for k in range(steps - 1, -1, -1)), 0], T), size)


def _timesteps(schedule: NoiseSchedule, steps: int) -> int | None:
    """The schedule's T; ValueError for a number of steps that it cannot make."""
    T = schedule.timesteps
    if steps < 1 or (T is not None and steps > T):
        raise ValueError(f"{steps} steps: must be at least 1" + (f" and at most {T}" if T else ""))
    return T


def _to_t(timesteps: Sequence[int], T: int) -> list[float]:
    return [timestep / (T - 1) for timestep in timesteps]


def _levels(schedule: NoiseSchedule, t: Sequence[float], size: Size) -> Levels:
    return schedule.level(torch.tensor(t, dtype=torch.float64), size)


def _ending_clean(schedule: NoiseSchedule, t: Sequence[float], size: Size) -> Levels:
    """The levels at t, then alpha 1 and sigma 0; the time of that is the first level's."""
    levels, first = _levels(schedule, t, size), _levels(schedule, [0.0], size)
    one = torch.ones_like(first.alpha)
    return Levels(
        torch.cat([levels.alpha, one]),
        torch.cat([levels.sigma, 0 * one]),
        torch.cat([levels.time, first.time]),
    )
