"""Each sampler against diffusers' scheduler of the same name, evaluation by evaluation.

Compared is what the network is shown: that is in the same units on both sides, and the first evaluation that
differs follows the step that is wrong. Noise is fed to both sides by step.
"""

from __future__ import annotations

import sys
from functools import partial

import diffusers
import numpy as np
import pytest
import torch
from ldmkit_diffusion import multistep, samplers, spacings
from ldmkit_diffusion.continuous import EDM as EDMSchedule
from ldmkit_diffusion.continuous import Flow as FlowSchedule
from ldmkit_diffusion.discrete import Cosine, Linear, ScaledLinear
from ldmkit_diffusion.objectives import EDM, Clean, Epsilon, Flow, Velocity
from ldmkit_diffusion.unipc import unipc
from scheduler_network import NOISES, START, network

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TOLERANCE = 2e-5
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PAPER = ScaledLinear(start=0.00085, end=0.012)
ZERO_SNR = ScaledLinear(start=0.00085, end=0.012, zero_snr=True)
EPSILON = Epsilon(PAPER)
OBJECTIVES = {"epsilon": EPSILON, "sample": Clean(), "v_prediction": Velocity()}


def theirs(monkeypatch, scheduler, steps, channels=4, **options):
    """What diffusers shows the network at each evaluation, and the result."""
    noises = iter(NOISES)
    module = sys.modules[type(scheduler).__module__]
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(noises))
    scheduler.set_timesteps(**(options or {"num_inference_steps": steps}))
    scale = getattr(scheduler, "scale_model_input", lambda z, t: z)
    z, shown = START * scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else START, []
    for t in scheduler.timesteps:
        shown.append(scale(z, t))
        z = scheduler.step(network(shown[-1], t.expand(2), channels), t, z).prev_sample
    return shown, z


def ours(sampler, levels, objective, first):
    """The same of our sampler; `first` is what the network is to be shown first."""
    shown, channels = [], objective.out_channels(4)

    def estimate(z, level):
        shown.append(objective.scale_input(z, level))
        return objective.estimate(network(shown[-1], level.time.expand(2), channels), z, level)

    start = first / objective.scale_input(torch.ones_like(first), levels[0])
    return shown, sampler(estimate, start, levels, lambda i: NOISES[i])


def check(sampler, levels, objective, expected):
    """Says which evaluation is the first to differ."""
    their_shown, their_end = expected
    shown, end = ours(sampler, levels, objective, their_shown[0])
    assert len(shown) == len(their_shown), "as many evaluations"
    for i, (z, other) in enumerate(zip([*shown, end], [*their_shown, their_end], strict=True)):
        error = float((z - other).norm() / other.norm())
        assert error < TOLERANCE, f"evaluation {i} of {len(shown)} is the first to differ, by {error:.2g}"


@pytest.mark.parametrize("steps", [1, 5, 10, 40, 50])
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim_as_published(monkeypatch, steps, eta):
    scheduler = diffusers.DDIMScheduler(
        **BETAS, steps_offset=1, set_alpha_to_one=False, clip_sample=False, timestep_spacing="leading"
    )
    scheduler.step = partial(scheduler.step, eta=eta)
    expected = theirs(monkeypatch, scheduler, steps)
    check(partial(samplers.ddim, eta=eta), spacings.leading(PAPER, steps), EPSILON, expected)


@pytest.mark.parametrize("meaning", OBJECTIVES)
def test_ddim_trailing(monkeypatch, meaning):
    scheduler = diffusers.DDIMScheduler(
        **BETAS, clip_sample=False, timestep_spacing="trailing", prediction_type=meaning
    )
    expected = theirs(monkeypatch, scheduler, 20)
    check(samplers.ddim, spacings.trailing(PAPER, 20), OBJECTIVES[meaning], expected)


def test_ddim_zero_snr(monkeypatch):
    scheduler = diffusers.DDIMScheduler(
        **BETAS,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
    )
    expected = theirs(monkeypatch, scheduler, 20)
    check(samplers.ddim, spacings.trailing(ZERO_SNR, 20), Velocity(), expected)


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=["linear", "squaredcos_cap_v2"])
def test_other_schedules(monkeypatch, request, schedule):
    scheduler = diffusers.DDIMScheduler(
        beta_schedule=request.node.callspec.id,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
    )
    expected = theirs(monkeypatch, scheduler, 20)
    check(samplers.ddim, spacings.trailing(schedule, 20), Velocity(), expected)


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_ddpm(monkeypatch, spacing):
    scheduler = diffusers.DDPMScheduler(**BETAS, clip_sample=False, timestep_spacing=spacing)
    expected = theirs(monkeypatch, scheduler, 28)
    check(samplers.ddpm, getattr(spacings, spacing)(PAPER, 28), EPSILON, expected)


def test_ddpm_learned_range(monkeypatch):
    scheduler = diffusers.DDPMScheduler(
        **BETAS, clip_sample=False, timestep_spacing="linspace", variance_type="learned_range"
    )
    expected = theirs(monkeypatch, scheduler, 28, channels=8)
    objective = Epsilon(PAPER, variance="learned-range")
    check(samplers.ddpm, spacings.linspace(PAPER, 28), objective, expected)


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_plms(monkeypatch, steps):
    scheduler = diffusers.PNDMScheduler(
        **BETAS, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False, timestep_spacing="leading"
    )
    check(multistep.plms, spacings.leading(PAPER, steps), EPSILON, theirs(monkeypatch, scheduler, steps))


@pytest.mark.parametrize("meaning", OBJECTIVES)
@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("EulerDiscreteScheduler", samplers.euler),
        ("EulerAncestralDiscreteScheduler", samplers.euler_ancestral),
        ("HeunDiscreteScheduler", samplers.heun),
    ],
)
@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
def test_euler_and_heun(monkeypatch, name, sampler, meaning, spacing):
    if (name, meaning) == ("EulerAncestralDiscreteScheduler", "sample"):
        pytest.skip("diffusers has none for x0")
    scheduler = getattr(diffusers, name)(**BETAS, timestep_spacing=spacing, prediction_type=meaning)
    expected = theirs(monkeypatch, scheduler, 10)
    check(sampler, getattr(spacings, spacing)(PAPER, 10), OBJECTIVES[meaning], expected)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_karras_spacing(monkeypatch, sampler):
    name = f"{sampler.capitalize()}DiscreteScheduler"
    scheduler = getattr(diffusers, name)(**BETAS, timestep_spacing="linspace", use_karras_sigmas=True)
    expected = theirs(monkeypatch, scheduler, 12)
    check(getattr(samplers, sampler), spacings.karras(PAPER, 12), EPSILON, expected)


@pytest.mark.parametrize("meaning", OBJECTIVES)
@pytest.mark.parametrize("steps", [4, 20])
@pytest.mark.parametrize(
    ("algorithm", "sampler"),
    [("dpmsolver++", multistep.dpmpp_2m), ("sde-dpmsolver++", multistep.dpmpp_2m_sde)],
)
def test_dpm_solver(monkeypatch, algorithm, sampler, steps, meaning):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type=algorithm, timestep_spacing="trailing", prediction_type=meaning
    )
    expected = theirs(monkeypatch, scheduler, steps)
    check(sampler, spacings.trailing(PAPER, steps), OBJECTIVES[meaning], expected)


@pytest.mark.parametrize("meaning", OBJECTIVES)
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("steps", [4, 20])
def test_unipc(monkeypatch, order, steps, meaning):
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS, solver_order=order, timestep_spacing="trailing", prediction_type=meaning
    )
    expected = theirs(monkeypatch, scheduler, steps)
    check(partial(unipc, order=order), spacings.trailing(PAPER, steps), OBJECTIVES[meaning], expected)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_euler(monkeypatch, shift):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    expected = theirs(monkeypatch, scheduler, 10, sigmas=np.linspace(1, 0.1, 10))
    check(samplers.euler, spacings.trailing(FlowSchedule(shift=shift), 10), Flow(), expected)


def test_edm_euler(monkeypatch):
    scheduler = diffusers.EDMEulerScheduler(sigma_data=0.5)
    expected = theirs(monkeypatch, scheduler, 18)
    check(samplers.euler, spacings.karras(EDMSchedule(), 18), EDM(sigma_data=0.5), expected)


def test_quadratic_positions_as_published():
    for steps in range(1, 1001):
        published = (np.linspace(0, np.sqrt(1000 * 0.8), steps) ** 2).astype(int) + 1
        levels = spacings.quadratic(PAPER, steps)
        assert levels.time[:-1].flip(0).tolist() == published.tolist(), f"{steps} steps"


@pytest.mark.parametrize("steps", [s for s in range(1, 1000) if 1000 % s == 0])
def test_leading_positions_as_published(steps):
    published = np.arange(0, 1000, 1000 // steps) + 1
    levels = spacings.leading(PAPER, steps)
    assert levels.time[:-1].flip(0).tolist() == published.tolist()
    assert levels.alpha[-1] == PAPER.alpha[0]
