"""A model with an adapter is written as the model that the two are together."""

from __future__ import annotations

import diffusers
import pytest
import torch
from tiny_pipelines import PROMPT, quiet, stable_diffusion

import ldmkit
from ldmkit.interchange import export_model, import_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*no weights for its adapter"),
]


@torch.no_grad()
def test_an_adapter_becomes_part_of_the_exported_weights(noise, tmp_path, error):
    stable_diffusion().save_pretrained(tmp_path / "pipeline")
    recipe = import_model(tmp_path / "pipeline", tmp_path / "out", None, None, lambda line: None)
    model = ldmkit.build(recipe, ["adapters={style: {name: lora, rank: 2, strength: 0.5}}"])
    for tensor in model.adapters["style"].state().values():  # half of them are zero before a training
        tensor.copy_(torch.randn_like(tensor) * 0.3)
    condition = model.condition({"caption": [PROMPT]})
    plain = ldmkit.build(recipe).denoise(noise, torch.tensor([801.0]), condition)
    model.adapters["style"].set_strength(0.5)
    adapted = model.denoise(noise, torch.tensor([801.0]), condition)
    assert error(adapted, plain) > 0.01
    notes = export_model(model, tmp_path / "again", "diffusers")
    assert notes == ["adapter style: part of the weights, at strength 0.5"]
    pipeline = quiet(diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "again"))
    states = condition["caption"].tokens
    assert error(pipeline.unet(noise, 801, encoder_hidden_states=states).sample, adapted) < 2e-5
