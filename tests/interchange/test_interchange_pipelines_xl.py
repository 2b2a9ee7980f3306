"""Stable Diffusion XL, with random weights, computes what diffusers' own pipeline computes."""

from __future__ import annotations

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from tiny_pipelines import (
    NEGATIVE,
    PROMPT,
    SCALE,
    imported,
    large,
    quiet,
    unit,
)

from ldmkit.interchange import export_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@torch.no_grad()
@pytest.mark.parametrize("negative", [NEGATIVE, None], ids=["negative prompt", "zeros"])
def test_stable_diffusion_xl(negative, noise, tmp_path, error):
    """Two text encoders side by side; sizes and the text's projection as a vector."""
    pipeline = large()
    model, notes = imported(pipeline, tmp_path)
    assert [slot.name for slot in model.recipe.conditioners.values()] == ["paired-text", "size-embedding"]
    condition = model.condition({"caption": [PROMPT]})
    embeds = pipeline.encode_prompt(PROMPT, negative_prompt=negative)
    assert error(condition["caption"].tokens, embeds[0]) < 2e-5
    assert error(condition["caption"].vector, embeds[2]) < 2e-5
    sizes = torch.tensor([[16, 16, 0, 0, 16, 16]])
    added = {"text_embeds": embeds[2], "time_ids": sizes}
    expected = pipeline.unet(noise, 801, encoder_hidden_states=embeds[0], added_cond_kwargs=added).sample
    assert error(model.denoise(noise, torch.tensor([801.0]), condition), expected) < 2e-5
    options = {"num_inference_steps": 10, "guidance_scale": SCALE, "negative_prompt": negative}
    theirs = pipeline(PROMPT, latents=noise, output_type="latent", **options).images
    null = None if negative is None else model.condition({"caption": [negative]})
    guidance = [{"name": "classifier-free", "scale": SCALE}]
    own = model.sample_latent(condition, noise=unit(pipeline, noise), steps=10, guidance=guidance, null=null)
    assert error(own, theirs) < 1e-4
    assert not [note for note in notes if "left aside" in note]


@torch.no_grad()
def test_stable_diffusion_xl_told_other_sizes(noise, tmp_path, error):
    pipeline = large()
    model, _ = imported(pipeline, tmp_path)
    sizes = {"original_size": (40, 24), "crops_coords_top_left": (3, 5), "target_size": (16, 16)}
    options = {"num_inference_steps": 4, "guidance_scale": 1.0, "output_type": "latent"}
    theirs = pipeline(PROMPT, latents=noise, **options, **sizes).images
    condition = model.condition({"caption": [PROMPT], "size": [[40, 24, 3, 5, 16, 16]]})
    first = unit(pipeline, noise)
    pipeline.scheduler.set_timesteps(4)
    own = model.sample_latent(condition, noise=first, steps=4, guidance=[])
    assert error(own, theirs) < 0.05  # another first level scales x_T by a hair
    assert len(model.sample([PROMPT, "a"], 0, steps=1, size=(32, 16))) == 2


def test_stable_diffusion_xl_is_written_again_bit_for_bit(tmp_path):
    pipeline = large()
    model, _ = imported(pipeline, tmp_path)
    export_model(model, tmp_path / "again", "diffusers")
    files = [f"{name}/diffusion_pytorch_model.safetensors" for name in ("unet", "vae")]
    for file in [*files, "text_encoder/model.safetensors", "text_encoder_2/model.safetensors"]:
        before, after = (load_file(tmp_path / folder / file) for folder in ("pipeline", "again"))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    again = diffusers.StableDiffusionXLPipeline.from_pretrained(tmp_path / "again", add_watermarker=False)
    options = {"num_inference_steps": 2, "output_type": "latent"}
    made = [
        each(PROMPT, generator=torch.Generator().manual_seed(1), **options).images
        for each in (pipeline, quiet(again))
    ]
    assert torch.allclose(*made, atol=1e-4)
