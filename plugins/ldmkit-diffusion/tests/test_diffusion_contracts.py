"""Schedules, spacings, objectives, samplers and guidance keep their contracts, in every combination."""

from __future__ import annotations

import itertools

import pytest
import torch

from ldmkit.engine.components import build
from ldmkit.host.plugins import host
from ldmkit.recipe import Component
from ldmkit.testing.diffusion import (
    check_guidance,
    check_levels,
    check_objective,
    check_sampler,
    check_schedule,
    check_spacing,
)
from ldmkit.types import Estimate, Level

OURS = "ldmkit-diffusion"
SCHEDULES = {
    **{e.name: {"name": e.name} for e in host().registry if e.kind == "schedule" and e.distribution == OURS},
    "zero-snr": {"name": "scaled-linear", "zero_snr": True},
    "cosine-zero-snr": {"name": "cosine", "zero_snr": True},
    "shifted-flow": {"name": "flow", "shift": 3.0, "base": [8, 8]},
    "short": {"name": "scaled-linear", "steps": 20},
}
OBJECTIVES = {
    **{e.name: {"name": e.name} for e in host().registry if e.kind == "objective" and e.distribution == OURS},
    "l1": {"name": "epsilon", "loss": "l1"},
    "min-snr": {"name": "epsilon", "weighting": "min-snr"},
    "x0-min-snr": {"name": "x0", "weighting": "min-snr"},
    "v-min-snr": {"name": "v", "weighting": "min-snr"},
    "v-edm": {"name": "v", "weighting": "edm"},
    "flow-edm": {"name": "flow", "weighting": "edm"},
    "edm-half": {"name": "edm", "sigma_data": 0.5},
    "learned-range": {"name": "epsilon", "variance": "learned-range"},
}


def names(kind):
    return [e.name for e in host().registry if e.kind == kind and e.distribution == OURS]


def make(kind, slot, **supplied):
    component = Component.model_validate(slot)
    return build(host().registry, kind, component, **supplied)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule(schedule):
    check_schedule(make("schedule", SCHEDULES[schedule]), size=(16, 16))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("spacing", names("spacing"))
def test_spacing(spacing, schedule):
    check_spacing(make("spacing", spacing), make("schedule", SCHEDULES[schedule]), size=(16, 16))


@pytest.mark.parametrize("spacing", names("spacing"))
def test_every_step_count_of_a_thousand(spacing):
    made, schedule = make("spacing", spacing), make("schedule", "scaled-linear")
    for n in range(1, 1001):
        check_levels(made(schedule, n), schedule, n)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objective(objective, schedule):
    levels = make("schedule", SCHEDULES[schedule])
    check_objective(make("objective", OBJECTIVES[objective], schedule=levels), levels)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", names("sampler"))
def test_sampler(sampler, schedule):
    levels = make("schedule", SCHEDULES[schedule])
    for spacing, steps in itertools.product(names("spacing"), (1, 2, 9)):
        check_sampler(make("sampler", sampler), make("spacing", spacing)(levels, steps))


@pytest.mark.parametrize("sampler", names("sampler"))
def test_sampler_at_every_timestep(sampler):
    for steps in (20, 100):
        levels = make("schedule", {"name": "scaled-linear", "steps": steps})
        for spacing in names("spacing"):
            check_sampler(make("sampler", sampler), make("spacing", spacing)(levels, steps))


@pytest.mark.parametrize(
    "slot",
    [
        {"name": "classifier-free", "scale": 3.0},
        {"name": "classifier-free", "scale": 3.0, "rescale": 0.7},
        {"name": "classifier-free", "scale": 3.0, "interval": [0.1, 2.0]},
        {"name": "classifier-free", "scale": 1.0, "scales": {"c": 2.0}},
        {"name": "known-region"},
    ],
    ids=str,
)
@pytest.mark.parametrize("sigma", [0.02, 0.5, 0.999])
def test_guidance(slot, sigma):
    level = Level(*(torch.tensor(x, dtype=torch.float64) for x in ((1 - sigma**2) ** 0.5, sigma, 7.0)))
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, 2:5] = 1
    check_guidance(
        make("guidance", slot, compression=Identity()), level, {"image": torch.rand(2, 3, 8, 8), "mask": mask}
    )


class Identity:
    scale = torch.ones(3)

    def encode(self, image):
        return image


COSTS = {"one evaluation a step": 1, "two evaluations a step": 2}
FIRST_ORDER_STEPS = {"heun": -1, "plms": 1}
"""Evaluations that 10 steps cost besides: what the docstrings say of the first or the last step."""


@pytest.mark.parametrize("name", names("sampler"))
def test_a_sampler_says_its_order_cost_and_source_and_its_cost_is_true(name):
    words = " ".join((host().registry.get("sampler", name).load().__doc__ or "").split())
    assert all(part in words.lower() for part in ("order", "source:"))
    assert ("Stochastic" in words) != ("eterministic" in words)
    (cost,) = [evaluations for text, evaluations in COSTS.items() if text in words]
    schedule = make("schedule", {"name": "scaled-linear"})
    levels = make("spacing", {"name": "trailing"})(schedule, 10)
    z, called = torch.randn(1, 2, 4, 4, dtype=torch.float64), []

    def estimate(z, level):
        called.append(level)
        return Estimate(z / 2, z / 3)

    make("sampler", {"name": name})(estimate, z, levels, lambda _: torch.zeros_like(z))
    assert len(called) == 10 * cost + FIRST_ORDER_STEPS.get(name, 0)
