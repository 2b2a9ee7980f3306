"""Conditions for which there are no published figures: out as a single file, and in again."""

from __future__ import annotations

import pytest
import torch
from small_recipes import UNET

import ldmkit
from ldmkit.engine.system import assemble
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange import export_model, import_model
from ldmkit.recipe import load, resolve

FIRST = {"name": "vq-autoencoder", "factor": 4, "channels": 3, "codebook_size": 16, "order": "legacy"}
RECIPE = {
    "recipe": 1,
    "name": "toy",
    "compression": {**FIRST, "width": 32, "multipliers": [1, 1, 1], "blocks": 1, "middle_attention": False},
    "denoiser": {**UNET, "attention": [1]},
    "objective": {"name": "epsilon", "loss": "l1"},
}
LAYOUT = {"tokenizer": "boxes", "length": 5, "width": 32, "layers": 1, "vocabulary": 64}
CASES = {
    "inpainting": {"image": {"name": "masked-image"}},
    "semantic": {"segmentation": {"name": "spatial-rescaler", "classes": 7}},
    "layout": {"caption": {"name": "text-transformer", **LAYOUT}},
}
RAW = {
    "inpainting": {"image": torch.rand(1, 3, 16, 16), "mask": torch.ones(1, 1, 16, 16)},
    "semantic": {"segmentation": torch.arange(256).reshape(1, 16, 16) % 7},
    "layout": {"caption": [[[3, 0.1, 0.2, 0.5, 0.5]]]},
}


def exported(case, out):
    """A tiny model and the file that the published code would have of it."""
    torch.manual_seed(0)
    registry = host().registry
    system = assemble(resolve(load({**RECIPE, "conditioners": CASES[case]}), registry), registry).eval()
    for parameter in system.parameters():  # nothing stays zero
        torch.nn.init.normal_(parameter, std=0.1)
    export_model(system, out, "compvis")
    if case == "inpainting":  # its first stage is held twice
        content = torch.load(out / "model.ckpt", weights_only=True)
        first = {k: v for k, v in content["state_dict"].items() if k.startswith("first_stage_model.")}
        again = {k.replace("first_stage_model", "cond_stage_model"): v for k, v in first.items()}
        content["state_dict"] |= again
        torch.save(content, out / "model.ckpt")
    return system


@torch.no_grad()
@pytest.mark.parametrize("case", CASES)
def test_a_condition_comes_back(case, tmp_path):
    system = exported(case, tmp_path / "out")
    config = tmp_path / "out" / "config.yaml"
    recipe = import_model(tmp_path / "out" / "model.ckpt", tmp_path / "in", config, None, lambda line: None)
    again = ldmkit.build(recipe)
    z, time = torch.randn(1, 3, 4, 4), torch.tensor([500.0])
    estimates = [model.denoise(z, time, model.condition(RAW[case])) for model in (system, again)]
    assert torch.allclose(*estimates, atol=1e-6)
    assert again.recipe.objective.parameters["loss"] == "l1"


def test_a_first_stage_held_twice_must_be_one(tmp_path):
    exported("inpainting", tmp_path / "out")
    content = torch.load(tmp_path / "out" / "model.ckpt", weights_only=True)
    content["state_dict"]["cond_stage_model.encoder.conv_in.bias"] = torch.ones(32)
    torch.save(content, tmp_path / "out" / "model.ckpt")
    config = tmp_path / "out" / "config.yaml"
    with pytest.raises(UserError, match=r"not the first stage again: encoder\.conv_in\.bias"):
        import_model(tmp_path / "out" / "model.ckpt", tmp_path / "in", config, None, lambda line: None)
    assert not (tmp_path / "in").exists()
