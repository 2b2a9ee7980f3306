"""Every objective x schedule x sampler on data whose estimate is known: order and distance."""

from __future__ import annotations

import math
from functools import cache, partial

import pytest
import torch
from ldmkit_diffusion import multistep, objectives, samplers, spacings
from ldmkit_diffusion.continuous import EDM, Flow
from ldmkit_diffusion.discrete import Cosine, Linear, ScaledLinear, Sqrt
from ldmkit_diffusion.unipc import unipc

from ldmkit.testing.mixture import Mixture, moved, unevenness
from ldmkit.types import Level, Levels

DATA = Mixture()
SCHEDULES = {
    "scaled-linear": ScaledLinear(),
    "linear": Linear(),
    "sqrt": Sqrt(),
    "cosine": Cosine(),
    "flow": Flow(shift=2.0),
    "edm": EDM(),
    "zero-snr": ScaledLinear(zero_snr=True),
}
OBJECTIVES = {
    "epsilon": objectives.Epsilon,
    "x0": lambda _: objectives.Clean(),
    "v": lambda _: objectives.Velocity(),
    "flow": lambda _: objectives.Flow(),
    "edm": lambda _: objectives.EDM(sigma_data=0.9),
}
ORDERS = {
    "ddim": (samplers.ddim, 1),
    "euler": (samplers.euler, 1),
    "heun": (samplers.heun, 2),
    "dpmpp-2m": (multistep.dpmpp_2m, 2),
    "unipc": (unipc, 2),
    "plms": (multistep.plms, 3),
}
STOCHASTIC = {
    "ddpm": samplers.ddpm,
    "ddim-eta": partial(samplers.ddim, eta=0.5),
    "euler-ancestral": samplers.euler_ancestral,
    "dpmpp-2m-sde": multistep.dpmpp_2m_sde,
}


def pairs():
    """Objectives and schedules that go together."""
    made = []
    for schedule, levels in SCHEDULES.items():
        for objective, make in OBJECTIVES.items():
            if not (objective == "epsilon" and levels.zero_snr):
                made.append(pytest.param(make(levels), levels, id=f"{objective}-{schedule}"))
    return made


def drawn(levels: Levels, n: int = 400):
    """z at the first level: the marginal itself."""
    generator = torch.Generator().manual_seed(0)
    clean = DATA.sample((n, 1, 1, 1), generator)
    return levels[0].add_noise(clean, torch.randn(clean.shape, generator=generator, dtype=torch.float64))


def run(sampler, estimate, levels, n: int = 400):
    """Ranks before and after."""
    z, generator = drawn(levels, n), torch.Generator().manual_seed(1)
    made = sampler(
        estimate, z, levels, lambda _: torch.randn(z.shape, generator=generator, dtype=torch.float64)
    )
    return DATA.rank(z, levels[0]), DATA.rank(made, levels[-1])


def between(schedule, steps: int, even: bool) -> Levels:
    """Levels inside the schedule, where orders show; even in sigma / alpha for PLMS, which assumes it."""
    high, rho = (3.0, 1.0) if even else (20.0, 7.0)
    return spacings.karras(schedule, steps, rho=rho, sigma_min=0.1, sigma_max=high)[:-1]


@pytest.mark.parametrize(("objective", "schedule"), pairs())
def test_deterministic_samplers_converge_at_their_order(objective, schedule):
    estimate = DATA.network(objective)
    for name, (sampler, order) in ORDERS.items():
        coarse, fine = (
            moved(*run(sampler, estimate, between(schedule, n, name == "plms"))) for n in (12, 24)
        )
        assert fine < 0.016, f"{name}: {fine:.4f} off at 24 levels"
        assert math.log2(coarse / fine) > order - 0.1, f"{name}: {coarse:.2g} at 12, {fine:.2g} at 24 levels"


@pytest.mark.parametrize(("objective", "schedule"), pairs())
def test_samples_from_noise_to_clean_have_the_distribution(objective, schedule):
    estimate = DATA.network(objective)
    limits = {name: (sampler, 24, 0.024) for name, (sampler, _) in ORDERS.items()}
    limits |= {name: (sampler, 36, 0.036) for name, sampler in STOCHASTIC.items()}
    for name, (sampler, steps, limit) in limits.items():
        _, ranks = run(sampler, estimate, spacings.karras(schedule, steps), n=1000)
        assert unevenness(ranks) < limit, f"{name}: {unevenness(ranks):.3f} from uniform"


def test_the_distance_tells_true_samples_from_noise():
    generator, clean = torch.Generator().manual_seed(0), Level(*torch.tensor([1.0, 0.0, 0.0]).double())
    true, noise = DATA.sample((1000, 1, 1, 1), generator), torch.randn(1000, 1, 1, 1, generator=generator)
    assert unevenness(DATA.rank(true, clean)) < 0.015
    assert unevenness(DATA.rank(noise.double(), clean)) > 0.08


@cache
def stochastic_distance(name: str, steps: int) -> float:
    levels = spacings.karras(SCHEDULES["scaled-linear"], steps)
    return unevenness(run(STOCHASTIC[name], DATA.estimate, levels, n=40000)[1])


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_converge(name):
    coarse, fine = stochastic_distance(name, 8), stochastic_distance(name, 32)
    assert fine < 0.4 * coarse, f"{coarse:.4f} at 8 steps, {fine:.4f} at 32"


def test_second_order_noise_is_nearer_at_equal_cost():
    assert stochastic_distance("dpmpp-2m-sde", 32) < 0.5 * stochastic_distance("euler-ancestral", 32)
