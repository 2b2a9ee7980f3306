"""Contracts of schedules, spacings, objectives, samplers and guidance, for your tests.

Each check raises AssertionError naming the promise of `ldmkit.interfaces` that is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ldmkit.interfaces import (
    EstimateFunction,
    Guidance,
    NoiseSchedule,
    Objective,
    Sampler,
    Spacing,
)
from ldmkit.types import Condition, Conditions, Estimate, Latent, Level, Levels, NoiseSource, Request

TOLERANCE = 1e-3
"""Relative error that float32 may make of a target and back."""


def check_schedule(schedule: NoiseSchedule, size: tuple[int, int] | None = None) -> None:
    """Checks that levels go from clean to noise in float64 and can be inverted, that draws repeat with the
    same generator, and that `zero_snr` is true.

    size: the latent's (h, w), for schedules that shift with the resolution.
    """
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    levels = schedule.level(t, size)
    for name, x in (("alpha", levels.alpha), ("sigma", levels.sigma), ("time", levels.time)):
        assert x.shape == t.shape, f"level: {name} has the shape of t, not {tuple(x.shape)}"
        assert x.dtype == torch.float64, f"level: {name} is float64, not {x.dtype}"
        assert torch.isfinite(x).all(), f"level: {name} is finite"
    assert (levels.log_snr.diff() < 0).all(), "level: the SNR falls as t grows"
    vanishes = bool(levels.alpha[-1] < torch.finfo(torch.float32).eps)
    assert schedule.zero_snr == vanishes, f"zero_snr is {schedule.zero_snr}, alpha(1) {levels.alpha[-1]:g}"
    inner = t[1:-1]
    back = schedule.invert(levels.log_snr[1:-1], size)
    assert torch.allclose(back, inner, atol=1e-5), "invert: gives back the t whose log-SNR it is told"
    _check_draw(schedule, size)


def _check_draw(schedule: NoiseSchedule, size: tuple[int, int] | None) -> None:
    first, again = (schedule.draw(64, torch.Generator().manual_seed(0), size) for _ in range(2))
    assert first.shape == (64,), f"draw: n times, not {tuple(first.shape)}"
    assert torch.equal(first, again), "draw: repeats itself with the same generator"
    assert ((first >= 0) & (first <= 1)).all(), "draw: within [0, 1]"
    assert len(set(first.tolist())) > min(schedule.timesteps or 64, 64) // 4, (
        "draw: hardly any different times"
    )
    if schedule.timesteps is not None:
        steps = first * (schedule.timesteps - 1)
        assert torch.allclose(steps, steps.round(), atol=1e-6), "draw: integer timesteps of a table"


def check_spacing(spacing: Spacing, schedule: NoiseSchedule, size: tuple[int, int] | None = None) -> None:
    """Checks the levels for several numbers of steps, and that fewer than one step, or more than the schedule
    has, is a ValueError.

    size: the latent's (h, w).
    """
    most = schedule.timesteps or 1000
    for steps in {1, 2, 3, 7, 10, most // 3, most // 2 + 1, most - 1, most}:
        check_levels(spacing(schedule, steps, size), schedule, steps, size)
    for steps in (0, -1, *([] if schedule.timesteps is None else [most + 1])):
        assert refuses(partial(spacing, schedule, steps, size)), f"{steps} steps: must raise ValueError"


def check_levels(
    levels: Levels, schedule: NoiseSchedule, steps: int, size: tuple[int, int] | None = None
) -> None:
    """Checks that there are `steps` + 1 levels in float64, noisiest first, within the schedule's times, which
    end on its first level or on clean."""
    alpha, sigma = levels.alpha, levels.sigma
    assert len(levels) == steps + 1, f"{steps} steps: {steps + 1} levels, not {len(levels)}"
    assert alpha.dtype == sigma.dtype == torch.float64, f"{steps} steps: levels are float64"
    rising = sigma[1:] * alpha[:-1] <= sigma[:-1] * alpha[1:]
    assert rising.all(), f"{steps} steps: noisiest first"
    ends = schedule.level(torch.tensor([0.0, 1.0], dtype=torch.float64), size)
    clean = bool(alpha[-1] == 1) and bool(sigma[-1] == 0)
    first = bool(alpha[-1] == ends.alpha[0]) and bool(sigma[-1] == ends.sigma[0])
    assert clean or first, f"{steps} steps: ends on clean or on the schedule's first level"
    assert (levels.time >= ends.time[0] - 1e-6).all(), f"{steps} steps: no time below the schedule's first"
    assert (levels.time <= ends.time[1] + 1e-6).all(), f"{steps} steps: no time above the schedule's last"


def check_objective(objective: Objective, schedule: NoiseSchedule, channels: int = 4) -> None:
    """Checks that `estimate` and `loss` agree: the output that stands for a picture and its noise has the
    least loss.

    channels: of the latent. Nothing is checked where the objective refuses the schedule.
    """
    if refuses(lambda: objective.check(schedule)):
        return
    generator = torch.Generator().manual_seed(0)
    level = schedule.level(schedule.draw(6, generator))
    clean = torch.randn(6, channels, 8, 8, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    z, at = level.add_noise(clean, noise), level.like(clean)
    assert objective.scale_input(z, level).shape == z.shape, "scale_input: keeps the shape"
    raw = output_for(objective, clean, noise, level)
    estimate = objective.estimate(raw, z, level)
    assert estimate.clean.shape == estimate.noise.shape == z.shape, "estimate: has the latent's shape"
    # What is nearly absent from z_t cannot be told exactly; what counts is its part of z_t.
    check_near(at.alpha * estimate.clean, at.alpha * clean, "estimate: alpha clean")
    check_near(at.sigma * estimate.noise, at.sigma * noise, "estimate: sigma noise")
    least = objective.loss(raw, clean, noise, level)
    assert least.shape == (6,), f"loss: one a picture, not {tuple(least.shape)}"
    for change in (-0.1, 0.1):
        moved = raw.clone()
        moved[:, :channels] += change
        more = objective.loss(moved, clean, noise, level)
        assert (more > least).all(), "loss: least for the output that stands for the truth"


def output_for(objective: Objective, clean: Latent, noise: Latent, level: Level) -> Latent:
    """The raw output whose estimate is (clean, noise), by solving the estimate, which is affine in the
    output."""
    z, at = level.add_noise(clean, noise), level.like(clean)
    zero = z.new_zeros(len(z), objective.out_channels(z.shape[1]), *z.shape[2:])

    def across(x: Estimate) -> Latent:  # the direction in which clean and noise may change while z_t stays
        return at.sigma * x.clean - at.alpha * x.noise

    base = across(objective.estimate(zero, z, level))
    moved = across(objective.estimate(zero + 1, z, level)) - base
    zero[:, : z.shape[1]] = (across(Estimate(clean, noise)) - base) / moved
    return zero


def check_sampler(sampler: Sampler, levels: Levels) -> None:
    """Checks that a sampler ends on the picture where the data are that picture alone, that a picture does
    not depend on its batch, and that z is not changed in place."""
    generator = torch.Generator().manual_seed(0)
    picture, drawn = (torch.randn(3, 2, 4, 4, generator=generator) for _ in range(2))
    z = levels[0].add_noise(picture, drawn)
    before = z.clone()
    samples = sampler(point_estimate(picture), z, levels, step_noise(range(3)))
    assert torch.equal(z, before), "the sampler changes z in place"
    assert (samples.shape, samples.dtype) == (z.shape, z.dtype), "the latent has the shape and type of z"
    distance = float((samples - float(levels[-1].alpha) * picture).abs().max())
    allowed = 6 * float(levels[-1].sigma) + TOLERANCE * max(float(levels[0].sigma), 1.0)
    assert distance < allowed, f"ends {distance:g} off the only picture"
    for i in range(3):
        one = slice(i, i + 1)
        alone = sampler(point_estimate(picture[one]), z[one], levels, step_noise([i]))
        check_near(alone, samples[one], f"picture {i} alone")


def point_estimate(picture: Latent) -> EstimateFunction:
    """The exact estimate for data that consist of one picture, of another one for each entry of the batch."""

    def estimate(z: Latent, level: Level) -> Estimate:
        at = level.like(z)
        return Estimate(picture, (z - at.alpha * picture) / at.sigma.clamp(min=1e-9))

    return estimate


def step_noise(seeds: Sequence[int]) -> NoiseSource:
    """A noise source noise(i), "b 2 4 4", with a generator for each of the pictures' seeds; it raises
    AssertionError for a negative step."""

    def noise(i: int) -> Latent:
        assert i >= 0, f"noise({i}): the index is that of the step"
        generators = (torch.Generator().manual_seed(1000 * i + seed) for seed in seeds)
        return torch.stack([torch.randn(2, 4, 4, generator=g) for g in generators])

    return noise


def check_guidance(guidance: Guidance, level: Level, raw: Mapping[str, Any] | None = None) -> None:
    """Checks that guidance gives one estimate for each set of conditions, that its parts add up to z_t, and
    that it does not depend on the other sets.

    level: a single noise level. raw: the fields of the request that the guidance reads, for two pictures;
    latents and pictures here are "2 3 8 8".
    """
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 8, 8, generator=generator)
    first, second, null = ({"c": Condition(vector=torch.full((2, 1), x))} for x in (0.5, -1.0, 0.0))
    request = Request(first, null, raw or {}, decode=torch.tanh, seeds=(0, 1))
    guided = guidance.bind(toy_estimate, request)
    both = guided(z, level, [first, second])
    assert len(both) == 2, f"one estimate for each set of conditions, not {len(both)} for 2"
    at = level.like(z)
    for estimate, conditions in zip(both, (first, second), strict=True):
        assert estimate.clean.shape == estimate.noise.shape == z.shape, "estimates have the latent's shape"
        assert not estimate.clean.requires_grad, "estimates keep no graph"
        check_near(at.alpha * estimate.clean + at.sigma * estimate.noise, z, "alpha clean + sigma noise")
        check_near(guided(z, level, [conditions])[0].clean, estimate.clean, "a set of conditions by itself")


def toy_estimate(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
    """The estimates of a network of one line: the clean latent is half of z_t plus the condition's vector."""
    at, estimates = level.like(z), []
    for each in conditions:
        vector = each["c"].vector
        assert vector is not None
        clean = z / 2 + vector[:, :, None, None]
        estimates.append(Estimate(clean, (z - at.alpha * clean) / at.sigma))
    return estimates


def check_near(x: Tensor, other: Tensor, what: str) -> None:
    """Checks that two tensors differ by at most `TOLERANCE` times the largest entry, or times 1."""
    worst = float((x - other).abs().max())
    assert worst <= TOLERANCE * max(float(other.abs().max()), 1.0), f"{what}: differs by {worst:.2g}"


def refuses(function: Callable[[], Any]) -> bool:
    """Whether calling the function raises ValueError."""
    try:
        function()
    except ValueError:
        return True
    return False
