"""Consistency distillation and its sampler, on data whose consistency function is known in closed form."""

from __future__ import annotations

import pytest
import torch

from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import Component
from ldmkit.testing.distillation import check_distillation
from ldmkit.types import Estimate

STD = 0.4
"""Of the data: independent normals around 0."""


def make(kind, slot, **supplied):
    return build(host().registry, kind, Component.model_validate(slot), **supplied)


def distillation(schedule, **parameters):
    return make(
        "distillation", {"name": "consistency", "spacing": "trailing", **parameters}, schedule=schedule
    )


def posterior_mean(z, level):
    """What a perfect denoiser says: E[clean | z_t]."""
    at = level.like(z)
    clean = z * at.alpha * STD**2 / (at.alpha**2 * STD**2 + at.sigma**2)
    return Estimate(clean, (z - at.alpha * clean) / at.sigma.clamp(min=1e-6))


def consistent(z, level):
    """Where the probability flow from z_t ends: along it z_t keeps its rank in the marginal."""
    at = level.like(z)
    clean = z * STD / (at.alpha**2 * STD**2 + at.sigma**2).sqrt()
    return Estimate(clean, (z - at.alpha * clean) / at.sigma.clamp(min=1e-6))


def mean_loss(schedule, student, **parameters):
    generator = torch.Generator().manual_seed(0)
    clean = STD * torch.randn(512, 2, 4, 4, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    t = torch.rand(512, generator=generator, dtype=torch.float64)

    def teacher(z, level):
        right = posterior_mean(z, level)
        return right, Estimate(0 * right.clean, 0 * right.noise)

    loss = distillation(schedule, scale=1.0, distance="l2", **parameters)
    return float(loss(student, teacher, clean, noise, t).mean())


@pytest.mark.parametrize("distance", ["huber", "l2"])
@pytest.mark.parametrize("schedule", ["scaled-linear", "cosine", "flow", "edm"])
def test_contract(schedule, distance):
    levels = make("schedule", schedule)
    check_distillation(distillation(levels, steps=20, distance=distance), levels)


def test_the_consistency_function_has_no_loss_but_the_error_of_the_teachers_steps():
    schedule = make("schedule", "scaled-linear")
    losses = [mean_loss(schedule, consistent, steps=steps) for steps in (25, 50, 100)]
    # DDIM is of first order: at twice the steps a step's squared error is a quarter or less.
    assert losses[0] > 4 * losses[1] > 16 * losses[2] > 0
    assert losses[2] < 0.2 * mean_loss(schedule, posterior_mean, steps=100)


def test_it_learns_the_teachers_guidance():
    """A student whose clean estimate is one number learns the guided one of a teacher of two."""
    schedule = make("schedule", "scaled-linear")
    learned = torch.zeros((), requires_grad=True)
    loss = distillation(schedule, steps=10, scale=3.0)
    optimizer = torch.optim.Adam([learned], lr=0.05)

    def say(number):
        return lambda z, level: Estimate(
            number.expand_as(z), (z - level.like(z).alpha * number) / level.like(z).sigma.clamp(min=1e-6)
        )

    led, blind = say(torch.tensor(0.5)), say(torch.tensor(0.2))
    for step in range(300):
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(32, 1, 2, 2, generator=generator)
        t = torch.rand(32, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        teacher = lambda z, level: (led(z, level), blind(z, level))  # noqa: E731
        loss(say(learned), teacher, torch.zeros_like(noise), noise, t).mean().backward()
        optimizer.step()
    assert float(learned.detach()) == pytest.approx(0.2 + 3.0 * (0.5 - 0.2), abs=0.05)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_few_steps_of_the_consistency_function_draw_the_data(steps):
    schedule = make("schedule", "scaled-linear")
    levels = make("spacing", "trailing")(schedule, steps)
    sampler = make("sampler", "consistency")
    z = torch.randn(256, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    def noise(i):
        return torch.randn(z.shape, generator=torch.Generator().manual_seed(i + 1))

    assert float(sampler(consistent, z, levels, noise).std()) == pytest.approx(STD, rel=0.02)
    assert float(sampler(posterior_mean, z, levels, noise).std()) < 0.9 * STD


def test_steps_that_the_schedule_cannot_make_are_refused():
    with pytest.raises(UserError, match=r"distillation \(consistency\): 1001 steps"):
        distillation(make("schedule", "scaled-linear"), steps=1001)
