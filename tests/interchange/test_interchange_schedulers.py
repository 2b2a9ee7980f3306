"""Schedulers of Hugging Face folders: ten steps of diffusers' own class, and of what import reads of it."""

from __future__ import annotations

import sys

import diffusers
import pytest
import torch
from ldmkit_formats.diffusers.schedulers import read_scheduler
from ldmkit_formats.diffusers.schedulers.writing import write_scheduler
from scheduler_network import NOISES, START, network

from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import Component, SamplerSlot, complete
from ldmkit.types import Request

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LATENT_DIFFUSION = {**BETAS, "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}
V = {**BETAS, "prediction_type": "v_prediction"}
PLAIN = {**BETAS, "clip_sample": False}
LEADING = {**BETAS, "steps_offset": 1, "timestep_spacing": "leading"}
TRAILING = {**BETAS, "timestep_spacing": "trailing"}
KARRAS = {"use_karras_sigmas": True}
THRESHOLD = {**BETAS, "thresholding": True, "sample_max_value": 1.5}
SOLVER = "DPMSolverMultistepScheduler"
CASES = [
    ("DDIMScheduler", LATENT_DIFFUSION),
    ("DDIMScheduler", PLAIN),
    ("DDIMScheduler", BETAS),
    ("DDIMScheduler", {**TRAILING, "clip_sample_range": 0.5}),
    ("DDIMScheduler", {**THRESHOLD, "dynamic_thresholding_ratio": 0.9}),
    ("DDIMScheduler", {**LATENT_DIFFUSION, "timestep_spacing": "trailing"}),
    ("DDIMScheduler", {"clip_sample": False, "prediction_type": "sample"}),
    ("DDIMScheduler", {**PLAIN, **V, "beta_schedule": "squaredcos_cap_v2"}),
    ("DDIMScheduler", {**TRAILING, **V, "clip_sample": False, "rescale_betas_zero_snr": True}),
    ("DDPMScheduler", {}),
    ("DDPMScheduler", {**PLAIN, "variance_type": "fixed_large"}),
    ("DDPMScheduler", {**PLAIN, "variance_type": "fixed_small_log", "steps_offset": 3}),
    ("DDPMScheduler", {**PLAIN, "variance_type": "learned_range"}),
    ("PNDMScheduler", {**LEADING, "skip_prk_steps": True}),
    ("PNDMScheduler", {**TRAILING, "skip_prk_steps": True}),
    ("PNDMScheduler", {**LEADING, "skip_prk_steps": True, "prediction_type": "v_prediction"}),
    (SOLVER, BETAS),
    (SOLVER, LEADING),
    (SOLVER, {**TRAILING, "algorithm_type": "sde-dpmsolver++"}),
    (SOLVER, {**BETAS, **KARRAS}),
    (SOLVER, THRESHOLD),
    (SOLVER, {**BETAS, "solver_order": 1}),
    ("EulerDiscreteScheduler", BETAS),
    ("EulerDiscreteScheduler", LEADING),
    ("EulerDiscreteScheduler", {**V, **KARRAS}),
    ("EulerDiscreteScheduler", {**BETAS, "final_sigmas_type": "sigma_min"}),
    ("EulerAncestralDiscreteScheduler", BETAS),
    ("EulerAncestralDiscreteScheduler", LEADING),
    ("HeunDiscreteScheduler", BETAS),
    ("HeunDiscreteScheduler", {**TRAILING, "clip_sample": True}),
    ("HeunDiscreteScheduler", {**BETAS, **KARRAS}),
    ("UniPCMultistepScheduler", BETAS),
    ("UniPCMultistepScheduler", {**LEADING, "solver_order": 3}),
    ("UniPCMultistepScheduler", {**BETAS, **KARRAS}),
    ("FlowMatchEulerDiscreteScheduler", {}),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ("EDMEulerScheduler", {}),
    ("EDMEulerScheduler", {"sigma_data": 1.0, "rho": 5.0, "sigma_max": 40.0}),
    ("EDMDPMSolverMultistepScheduler", {}),
]


def theirs(monkeypatch, scheduler, channels, steps=10):
    """What diffusers makes of START in so many steps, and what its network is shown first."""
    noises = iter(NOISES)
    module = sys.modules[type(scheduler).__module__]
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(noises))
    scheduler.set_timesteps(steps)
    scale = getattr(scheduler, "scale_model_input", lambda z, t: z)
    z, first = START * getattr(scheduler, "init_noise_sigma", 1.0), None
    for t in scheduler.timesteps:
        shown = scale(z, t)
        first = shown if first is None else first
        z = scheduler.step(network(shown, t.expand(2), channels), t, z).prev_sample
    return z, first


def ours(recipe, first, steps=10):
    """What the components of a recipe make of it, in diffusers' units."""
    registry = host().registry
    schedule = build(registry, "schedule", Component.model_validate(recipe["schedule"]))
    objective = build(registry, "objective", Component.model_validate(recipe["objective"]), schedule=schedule)
    objective.check(schedule)
    slot = SamplerSlot.model_validate({**recipe["sampler"], "steps": steps})
    levels = build(registry, "spacing", slot.spacing)(schedule, steps, None)

    def inner(z, level, conditions):
        shown = objective.scale_input(z, level)
        raw = network(shown, level.time.expand(2), objective.out_channels(4))
        return [objective.estimate(raw, z, level)]

    for guide in recipe.get("guidance", ()):
        inner = build(registry, "guidance", Component.model_validate(guide)).bind(inner, Request({}, {}))
    start = first / objective.scale_input(torch.ones_like(first), levels[0])
    return build(registry, "sampler", slot)(
        lambda z, x: inner(z, x, [{}])[0], start, levels, lambda i: NOISES[i]
    )


def name_of(value):
    return (
        ", ".join(f"{k}={v}" for k, v in value.items() if k not in BETAS)
        if isinstance(value, dict)
        else value
    )


@pytest.mark.parametrize(("name", "config"), CASES, ids=name_of)
def test_ten_steps_agree_with_diffusers(monkeypatch, name, config):
    channels = 8 if config.get("variance_type") == "learned_range" else 4
    scheduler = getattr(diffusers, name)(**config)
    expected, first = theirs(monkeypatch, scheduler, channels)
    reading = read_scheduler({**scheduler.config, "_class_name": name}, channels, 4)
    assert not [note for note in reading.notes if note.startswith("left aside")]
    made = ours(reading.recipe, first)
    if config.get("final_sigmas_type") == "sigma_min":  # its last sample is z / alpha there
        made = made / (1 - config["beta_start"]) ** 0.5
    assert float((made - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_what_is_absent_is_what_the_class_takes(name):
    """A configuration may leave out every entry that has its class's default."""
    whole = read_scheduler({**getattr(diffusers, name)().config, "_class_name": name}, 4, 4)
    assert read_scheduler({"_class_name": name}, 4, 4).recipe == whole.recipe


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("DDIMScheduler", {"nonsense": 3}),
        ("DDIMScheduler", {"timestep_spacing": "linspace"}),
        ("DDPMScheduler", {"variance_type": "learned"}),
        ("PNDMScheduler", {"skip_prk_steps": False}),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver"}),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}),
        ("DPMSolverMultistepScheduler", {"lambda_min_clipped": -5.1}),
        ("EulerDiscreteScheduler", {"interpolation_type": "log_linear"}),
        ("EulerDiscreteScheduler", {"use_beta_sigmas": True}),
        ("UniPCMultistepScheduler", {"disable_corrector": [0]}),
        ("UniPCMultistepScheduler", {"solver_type": "bh1"}),
        ("FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True}),
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_told(name, entries):
    (key,) = entries
    notes = read_scheduler({"_class_name": name, **entries}, 4, 4).notes
    assert len([note for note in notes if note.startswith("left aside") and key in note]) == 1


COSINE = {"beta_schedule": "squaredcos_cap_v2"}
ZERO_SNR = {**V, "rescale_betas_zero_snr": True}


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("DDPMScheduler", {**PLAIN, "variance_type": "fixed_large"}, None),
        ("DDPMScheduler", {**PLAIN, "variance_type": "fixed_large", "steps_offset": 1}, "variance_type"),
        ("DDPMScheduler", {**PLAIN, **TRAILING, "variance_type": "learned_range"}, "variance_type"),
        ("DDPMScheduler", {**PLAIN, **TRAILING}, None),
        ("HeunDiscreteScheduler", COSINE, "beta_schedule"),
        ("HeunDiscreteScheduler", {"beta_schedule": "linear", "beta_end": 0.03}, "beta_schedule"),
        ("HeunDiscreteScheduler", {"beta_schedule": "linear", "beta_end": 0.02}, None),
        ("PNDMScheduler", {**TRAILING, **COSINE, "skip_prk_steps": True}, "beta_schedule"),
        ("EulerDiscreteScheduler", COSINE, None),
        ("EulerDiscreteScheduler", {**COSINE, **KARRAS}, "use_karras_sigmas"),
        ("UniPCMultistepScheduler", ZERO_SNR, "rescale_betas_zero_snr"),
        (SOLVER, ZERO_SNR, "rescale_betas_zero_snr"),
        ("DDIMScheduler", {**ZERO_SNR, **TRAILING, "clip_sample": False}, None),
        (SOLVER, {**BETAS, "final_sigmas_type": "sigma_min"}, "lower_order_final"),
        ("UniPCMultistepScheduler", {**BETAS, "final_sigmas_type": "sigma_min"}, None),
    ],
    ids=name_of,
)
def test_a_first_or_last_step_that_is_another_one_is_told(monkeypatch, name, config, told):
    channels = 8 if config.get("variance_type") == "learned_range" else 4
    scheduler = getattr(diffusers, name)(**config)
    expected, first = theirs(monkeypatch, scheduler, channels)
    reading = read_scheduler({**scheduler.config, "_class_name": name}, channels, 4)
    made = ours(reading.recipe, first)
    agrees = float((made - expected).norm() / expected.norm()) < 1e-4
    notes = [n for n in reading.notes if told and told in n and ("left aside" in n or "2^-24" in n)]
    assert agrees == (told is None)
    assert len(notes) == (told is not None)


@pytest.mark.parametrize(
    "config",
    [
        {"_class_name": "ScoreSdeVeScheduler"},
        {"_class_name": "LCMScheduler"},
        {"_class_name": "DDIMScheduler", "trained_betas": [0.1, 0.2]},
        {"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"},
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": "much"},
        {"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"},
        {},
    ],
    ids=str,
)
def test_a_scheduler_without_counterpart_is_refused(config):
    with pytest.raises(UserError, match="scheduler"):
        read_scheduler(config, 4, 4)


@pytest.mark.parametrize("name", ["FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler"])
def test_a_learned_variance_has_no_place_in_continuous_time(name):
    with pytest.raises(
        UserError, match=f"scheduler '{name}' of continuous time has no place for the variance"
    ):
        read_scheduler({"_class_name": name}, 8, 4)


def test_clipping_becomes_a_guidance_that_is_told():
    reading = read_scheduler({"_class_name": "DDPMScheduler"}, 4, 4)
    assert reading.recipe["guidance"] == [{"name": "clamp", "range": 1.0, "noise": "follow"}]
    assert any("clip_sample" in note for note in reading.notes)


def recipe_of(reading):
    """A recipe with what was read, complete."""
    sampler = {**reading.recipe["sampler"], "steps": 10}
    values = {"recipe": 1, "name": "toy", "compression": {"name": "identity"}}
    return complete({**values, **reading.recipe, "sampler": sampler}, registry=host().registry)


@pytest.mark.parametrize(("name", "config"), CASES, ids=name_of)
def test_a_scheduler_that_was_read_is_written_again(monkeypatch, name, config):
    """The class that is written takes the very same steps as the one that was read."""
    channels = 8 if config.get("variance_type") == "learned_range" else 4
    before = getattr(diffusers, name)(**config)
    reading = read_scheduler({**before.config, "_class_name": name}, channels, 4)
    written, notes = write_scheduler(recipe_of(reading), host().registry)
    assert not notes
    assert read_scheduler({**written}, channels, 4).recipe == reading.recipe
    after = getattr(diffusers, written["_class_name"]).from_config(written)
    (expected, first), (made, shown) = (theirs(monkeypatch, x, channels) for x in (before, after))
    assert float((shown - first).norm() / first.norm()) < 1e-6
    assert float((made - expected).norm() / expected.norm()) < 1e-4


def test_a_sampler_that_no_class_has_is_told():
    reading = read_scheduler({"_class_name": "DDIMScheduler", "clip_sample": False}, 4, 4)
    reading.recipe["sampler"] = {"name": "ddim", "spacing": {"name": "quadratic"}}
    written, notes = write_scheduler(recipe_of(reading), host().registry)
    assert written["_class_name"] == "DDIMScheduler"
    assert "no class holds sampler 'ddim' with spacing 'quadratic'" in notes[0]


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("PNDMScheduler", {"use_karras_sigmas": True}),
        ("PNDMScheduler", {"rescale_betas_zero_snr": True}),
        ("EulerDiscreteScheduler", {"thresholding": True}),
        ("EulerAncestralDiscreteScheduler", {"final_sigmas_type": "sigma_min"}),
    ],
    ids=str,
)
def test_an_entry_that_the_class_passes_over_is_passed_over_and_told(name, entry):
    """As diffusers does, which takes such an entry for another scheduler's."""
    (key,) = entry
    plain = {"_class_name": name, **LEADING}
    reading = read_scheduler({**plain, **entry}, 4, 4)
    assert reading.recipe == read_scheduler(plain, 4, 4).recipe
    assert [note for note in reading.notes if key in note and "no such entry" in note]


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "DDPMScheduler",
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        SOLVER,
    ],
)
def test_it_is_told_where_seven_steps_of_a_thousand_timesteps_do_not_agree(monkeypatch, name, spacing):
    scheduler = getattr(diffusers, name)(**BETAS, timestep_spacing=spacing)
    scheduler.register_to_config(
        **({"clip_sample": False} if name.startswith("DD") else {"skip_prk_steps": True})
    )
    expected, first = theirs(monkeypatch, scheduler, 4, steps=7)
    reading = read_scheduler({**scheduler.config, "_class_name": name}, 4, 4)
    agrees = float((ours(reading.recipe, first, steps=7) - expected).norm() / expected.norm()) < 1e-4
    told = [note for note in reading.notes if "its like where the number of steps divides 1000" in note]
    assert len(told) == (not agrees)
