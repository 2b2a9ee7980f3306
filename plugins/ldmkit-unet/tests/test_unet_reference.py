"""Agreement with figures of the published implementation at reduced width, and the published sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from ldmkit_unet.compvis import CompVisUNet
from ldmkit_unet.unet import UNet
from published_weights import made_up
from safetensors.torch import load_file

from ldmkit.types import Condition, ConditionSpec, LatentSpec

FIXTURES = Path(__file__).parent / "fixtures"
PREFIX = "model.diffusion_model."


def averaged_name(key):
    return "model_ema.diffusion_model" + key.replace(".", "")


def distance(a, b):
    return float((a - b).norm() / b.norm())


def unet_of(config):
    """The UNet that an importer would build: latent and conditions by hand."""
    latent = LatentSpec(config["out_channels"], 4)
    concat = config["in_channels"] - config["out_channels"]
    spec = ConditionSpec((), tokens=config.get("context_dim", 0), concat=concat)
    return UNet(latent, spec, config["out_channels"], **CompVisUNet().parameters(config))


RAW = [(name, False) for name in ("celebahq-vq4", "bsr-sr", "cin256-v2", "txt2img-1p4B")]
AVERAGED = [(name, True) for name in ("celebahq-vq4", "bsr-sr")]


@pytest.mark.parametrize(("name", "averaged"), RAW + AVERAGED)
def test_one_pass_is_the_published_one(name, averaged):
    reference = json.loads((FIXTURES / name / "unet.json").read_text())
    io = load_file(FIXTURES / name / "io.safetensors")
    named = averaged_name if averaged else (PREFIX + "{}").format
    published = {key: made_up(named(key), shape) for key, shape in reference["shapes"].items()}
    unet, keymap = unet_of(reference["config"]), CompVisUNet()
    unet.load_state_dict(keymap.load(published, unet))
    cond = io.get("cond")
    condition = Condition(**{"tokens" if unet.conditions.tokens else "concat": cond})
    with torch.inference_mode():
        eps = unet(io["z_t"], io["t"].float(), condition)
    assert distance(eps, io["eps_ema" if averaged else "eps"]) < 2e-5
    back = keymap.save(unet)
    assert back.keys() == published.keys()
    assert all(torch.equal(back[key], published[key]) for key in published)


F4 = LatentSpec(3, 4)
F8 = LatentSpec(4, 8)
TASKS = {
    "CelebA-HQ": (F4, {}, 274, {"width": 224, "multipliers": (1, 2, 3, 4), "attention": (8, 4, 2)}),
    "LSUN churches": (
        F8,
        {},
        295,
        {
            "width": 192,
            "multipliers": (1, 2, 2, 4, 4),
            "attention": (1, 2, 4, 8),
            "heads": 8,
            "scale_shift": True,
            "resample": "residual",
        },
    ),
    "ImageNet f8": (F8, {"tokens": 512}, 395, {"width": 256, "attention": (4, 2, 1)}),
    "ImageNet v2": (
        F4,
        {"tokens": 512},
        401,
        {"width": 192, "multipliers": (1, 2, 3, 5), "attention": (8, 4, 2), "heads": 1},
    ),
    "text 1.45B": (
        F8,
        {"tokens": 1280},
        872,
        {"width": 320, "multipliers": (1, 2, 4, 4), "attention": (4, 2, 1), "heads": 8},
    ),
    "text CC": (
        F4,
        {"tokens": 640},
        404,
        {"width": 192, "multipliers": (1, 2, 3, 5), "attention": (8, 4, 2)},
    ),
    "layout": (
        F4,
        {"tokens": 512},
        246,
        {"width": 128, "multipliers": (1, 2, 3, 4), "attention": (8, 4, 2), "depth": 3},
    ),
    "semantic": (
        F4,
        {"concat": 3},
        215,
        {"width": 128, "multipliers": (1, 4, 8), "attention": (32, 16, 8), "heads": 8},
    ),
    "super-resolution": (
        F4,
        {"concat": 3},
        114,
        {"width": 160, "multipliers": (1, 2, 2, 4), "attention": (16, 8)},
    ),
    "inpainting": (
        F4,
        {"concat": 4},
        387,
        {
            "width": 256,
            "multipliers": (1, 2, 3, 4),
            "attention": (8, 4, 2),
            "heads": 8,
            "resample": "residual",
        },
    ),
}


@pytest.mark.parametrize("task", TASKS)
def test_published_parameter_counts(task):
    latent, conditions, millions, parameters = TASKS[task]
    with torch.device("meta"):
        unet = UNet(latent, ConditionSpec((), **conditions), latent.channels, **parameters)
    assert round(sum(p.numel() for p in unet.parameters()) / 1e6) == millions
