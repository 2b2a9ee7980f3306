"""Imported checkpoints compute what the published implementation computes."""

from __future__ import annotations

import pytest
import torch

from ldmkit.types import Condition

FIRST_STAGES = ["ae-kl-f4", "ae-kl-f8", "ae-vq-f4"]
MODELS = {"bsr-sr": "low_res", "celebahq-vq4": None, "cin256-v2": "label", "txt2img-1p4B": "caption"}
"""Each model and the field of its condition."""
INPUTS = {"low_res": "low_res", "label": "label", "caption": "tokens"}
SINGLE, TRAJECTORY = 2e-5, 1e-4


def conditions(system, io, name):
    field = MODELS[name]
    return system.condition({field: io[INPUTS[field]]} if field else {})


@torch.no_grad()
@pytest.mark.parametrize("name", FIRST_STAGES)
def test_first_stages_encode_and_decode(name, system, reference, error):
    io, model = reference(name).io, system(name).compression
    latent = io.get("latent_mean", io.get("latent_prequant"))
    assert error(model.encode(io["image"]), latent) < SINGLE
    assert error(model.decode(latent), io["decoded"]) < SINGLE


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_every_part_of_a_whole_model(name, system, reference, error):
    io, model = reference(name).io, system(name, "raw")
    assert error(model.compression.encode(io["image"]), io["latent"]) < SINGLE
    assert error(model.compression.decode(io["latent"]), io["decoded"]) < SINGLE
    made = conditions(model, io, name)
    for one in made.values():
        assert error(one.concat if one.tokens is None else one.tokens, io["cond"]) < SINGLE
    assert error(model.denoise(io["z_t"], io["t"].float(), made), io["eps"]) < SINGLE


@torch.no_grad()
@pytest.mark.parametrize("name", ["bsr-sr", "celebahq-vq4"])
def test_averaged_weights_are_the_default(name, system, imported, reference, error):
    io, model = reference(name).io, system(name)
    estimate = model.denoise(io["z_t"], io["t"].float(), conditions(model, io, name))
    assert error(estimate, io["eps_ema"]) < SINGLE
    assert error(estimate, io["eps"]) > 0.1
    explicit = imported(name, "ema").with_name("diffusion.safetensors")
    assert explicit.read_bytes() == imported(name).with_name("diffusion.safetensors").read_bytes()


def test_levels_are_the_checkpoints_own(system, reference):
    for name in MODELS:
        io, model = reference(name).io, system(name, "raw")
        level = model.schedule.level(io["t"].double() / 999)
        assert torch.allclose(level.add_noise(io["latent"], io["noise"]), io["z_t"], atol=1e-5)


@pytest.mark.parametrize("sampler", ["ddim", "plms"])
@pytest.mark.parametrize("name", MODELS)
def test_trajectories(name, sampler, system, reference, error):
    io, model = reference(name).io, system(name, "raw")
    options = {"sampler": sampler, "steps": 10, "guidance": []}
    made = model.sample_latent(conditions(model, io, name), noise=io["x_T"], **options)
    assert error(made, io[f"{sampler}10"]) < TRAJECTORY


@pytest.mark.parametrize("name", ["cin256-v2", "txt2img-1p4B"])
def test_guided_trajectories(name, system, reference, error):
    io, model = reference(name).io, system(name, "raw")
    made = model.sample_latent(
        conditions(model, io, name),
        noise=io["x_T"],
        sampler="ddim",
        steps=10,
        guidance=[{"name": "classifier-free", "scale": 3}],
        null={MODELS[name]: Condition(tokens=io["uncond"])},
    )
    assert error(made, io["ddim10_cfg3"]) < TRAJECTORY


def test_the_recipe_says_what_the_configuration_said(system):
    recipe = system("txt2img-1p4B", "raw").recipe
    assert recipe.name == "txt2img-1p4B"
    assert recipe.schedule.name == "scaled-linear"
    assert recipe.schedule.parameters["start"] == 0.00085
    assert recipe.conditioners["caption"].parameters["vocabulary"] == 500
    assert recipe.sample.size == (256, 256)
    assert torch.allclose(system("txt2img-1p4B", "raw").compression.scale, torch.tensor(0.18215))
