"""Stable Diffusion's pipelines with random weights: what is imported computes what diffusers computes.

One pass of the network within 2e-5; ten steps of the pipeline's own scheduler, guided, within 1e-4 (relative,
in the L2 norm). The pipeline and ldmkit start from the same x_T.
"""

from __future__ import annotations

import json

import diffusers
import pytest
import torch
from tiny_pipelines import (
    NEGATIVE,
    PROMPT,
    SCALE,
    SCHEDULERS,
    autoencoder,
    conditional_unet,
    guided,
    imported,
    quiet,
    stable_diffusion,
    text_encoder,
    unit,
)

from ldmkit.errors import UserError
from ldmkit.interchange import export_model, import_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@torch.no_grad()
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_stable_diffusion_by_ten_steps_of_every_scheduler(scheduler, noise, tmp_path, error):
    """Stable Diffusion 1 and, with "v", 2."""
    pipeline = stable_diffusion(scheduler)
    model, notes = imported(pipeline, tmp_path)
    condition = model.condition({"caption": [PROMPT]})
    ids = model.conditioners["caption"].prepare({"caption": [PROMPT]})["caption"]
    states = pipeline.text_encoder(ids).last_hidden_state
    assert error(condition["caption"].tokens, states) < 2e-5
    expected = pipeline.unet(noise, 801, encoder_hidden_states=states).sample
    assert error(model.denoise(noise, torch.tensor([801.0]), condition), expected) < 2e-5
    options = {"num_inference_steps": 10, "guidance_scale": SCALE, "negative_prompt": NEGATIVE}
    theirs = pipeline(PROMPT, latents=noise, output_type="latent", **options).images
    assert error(guided(model, {"caption": [PROMPT]}, unit(pipeline, noise)), theirs) < 1e-4
    assert not [note for note in notes if "left aside" in note and "safety" not in note]


@torch.no_grad()
def test_captions_are_as_long_as_the_tokenizer_says(noise, tmp_path, error):
    pipeline = stable_diffusion()
    pipeline.tokenizer.model_max_length = 20
    model, _ = imported(pipeline, tmp_path)
    options = {"num_inference_steps": 10, "guidance_scale": SCALE, "negative_prompt": NEGATIVE}
    theirs = pipeline(PROMPT, latents=noise, output_type="latent", **options).images
    assert model.condition({"caption": [PROMPT]})["caption"].tokens.shape[1] == 20
    assert error(guided(model, {"caption": [PROMPT]}, unit(pipeline, noise)), theirs) < 1e-4


def test_what_an_index_says_besides_the_parts_is_told(tmp_path):
    stable_diffusion().save_pretrained(tmp_path / "p")
    path = tmp_path / "p" / "model_index.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "_class_name": "Other", "clip_skip": 1, "id2label": {}})
    )
    (tmp_path / "p" / "pytorch_lora_weights.safetensors").write_bytes(b"")
    (tmp_path / "p" / "vqvae").mkdir()
    notes = []
    import_model(tmp_path / "p", tmp_path / "out", None, None, notes.append)
    assert "left aside pytorch_lora_weights.safetensors, vqvae: model_index.json does not name it" in notes
    assert [note for note in notes if note.startswith("model_index.json")] == [
        "model_index.json: _class_name Other is left aside: its parts are joined as they fit each other",
        "model_index.json: clip_skip 1 is left aside",
        "model_index.json: id2label {} is left aside",
    ]


def test_the_scheduler_is_written_again(tmp_path):
    pipeline = stable_diffusion("Heun")
    model, _ = imported(pipeline, tmp_path)
    assert export_model(model, tmp_path / "again", "diffusers") == []
    again = quiet(diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "again"))
    assert isinstance(again.scheduler, diffusers.HeunDiscreteScheduler)
    options = {"num_inference_steps": 3, "output_type": "latent"}
    made = [
        each(PROMPT, generator=torch.Generator().manual_seed(1), **options).images
        for each in (pipeline, again)
    ]
    assert torch.equal(*made)


@torch.no_grad()
def test_stable_diffusion_from_a_picture(noise, tmp_path, error):
    """img2img: the last half of the steps, from a noised latent."""
    pipeline = stable_diffusion(kind="StableDiffusionImg2ImgPipeline")
    model, _ = imported(pipeline, tmp_path)
    latent = model.compression.encode(torch.rand(1, 3, 16, 16) * 2 - 1)
    options = {"num_inference_steps": 10, "guidance_scale": SCALE, "negative_prompt": NEGATIVE}
    generator = torch.Generator().manual_seed(9)  # that of `noise`
    theirs = pipeline(
        PROMPT, latent, strength=0.5, generator=generator, output_type="latent", **options
    ).images
    own = guided(model, {"caption": [PROMPT]}, noise, init=latent, strength=0.5)
    assert error(own, theirs) < 1e-4


@torch.no_grad()
def test_inpainting_with_nine_channels(noise, tmp_path, error):
    pipeline = stable_diffusion(kind="StableDiffusionInpaintPipeline", channels=9)
    model, _ = imported(pipeline, tmp_path)
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:10, 6:16] = 1
    raw = {"caption": [PROMPT], "image": image, "mask": mask}
    condition = model.condition(raw)
    masked = pipeline.vae.encode(image * (mask < 0.5)).latent_dist.mode() * 0.18215
    concat = torch.cat([mask[..., ::2, ::2], masked], 1)
    assert error(condition["image"].concat, concat) < 2e-5
    expected = pipeline.unet(
        torch.cat([noise, concat], 1), 801, encoder_hidden_states=condition["caption"].tokens
    ).sample
    assert error(model.denoise(noise, torch.tensor([801.0]), condition), expected) < 2e-5
    theirs = inpainted(pipeline, noise, concat)
    assert error(guided(model, raw, noise), theirs) < 1e-4
    export_model(model, tmp_path / "again", "diffusers")
    again = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "again")
    assert isinstance(again, diffusers.StableDiffusionInpaintPipeline)


def inpainted(pipeline, noise, concat):
    """The pipeline's loop, with the mode of the masked latent and not a draw."""
    embeds = pipeline.encode_prompt(PROMPT, "cpu", 1, True, NEGATIVE)
    states = torch.cat([embeds[1], embeds[0]])
    pipeline.scheduler.set_timesteps(10)
    z = noise
    for t in pipeline.scheduler.timesteps:
        shown = torch.cat([torch.cat([z, z]), torch.cat([concat, concat])], 1)
        null, wanted = pipeline.unet(shown, t, encoder_hidden_states=states).sample.chunk(2)
        z = pipeline.scheduler.step(null + SCALE * (wanted - null), t, z).prev_sample
    return z


@torch.no_grad()
def test_an_upscaler_is_told_the_noise_of_its_low_resolution_picture(noise, tmp_path, error):
    parts = {
        "vae": autoencoder(3, scaling_factor=0.08333),
        "unet": conditional_unet(7, num_class_embeds=1000, only_cross_attention=[True, False]),
    }
    low = diffusers.DDPMScheduler(beta_schedule="scaled_linear", beta_start=1e-4, beta_end=0.02)
    pipeline = diffusers.StableDiffusionUpscalePipeline(
        **parts, **text_encoder(), scheduler=SCHEDULERS["v"], low_res_scheduler=low, max_noise_level=350
    )
    model, notes = imported(quiet(pipeline), tmp_path)
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    raw = {"caption": [PROMPT], "low_res": small}
    condition = model.condition(raw)
    fixed = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))[None]
    noised = low.add_noise(small, fixed, torch.tensor([20]))
    assert error(condition["low_res"].concat, noised) < 2e-5
    shown = torch.cat([noise, noised], 1)
    states = condition["caption"].tokens
    expected = pipeline.unet(shown, 801, encoder_hidden_states=states, class_labels=torch.tensor([20])).sample
    assert error(model.denoise(noise, torch.tensor([801.0]), condition), expected) < 2e-5
    embeds = pipeline.encode_prompt(PROMPT, "cpu", 1, True, NEGATIVE)
    scheduler, z = pipeline.scheduler, noise
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        both = torch.cat([torch.cat([z, z]), torch.cat([noised, noised])], 1)
        states = torch.cat([embeds[1], embeds[0]])
        said = pipeline.unet(
            both, t, encoder_hidden_states=states, class_labels=torch.tensor([20, 20])
        ).sample
        null, wanted = said.chunk(2)
        z = scheduler.step(null + SCALE * (wanted - null), t, z).prev_sample
    assert error(guided(model, raw, noise), z) < 1e-4
    assert any("noise of level 20" in note for note in notes)


def test_a_pipeline_that_no_recipe_holds_is_named(tmp_path):
    stable_diffusion().save_pretrained(tmp_path / "p")
    index = json.loads((tmp_path / "p" / "model_index.json").read_text())
    for change in (
        {"_class_name": "StableDiffusionControlNetPipeline", "controlnet": ["diffusers", "ControlNetModel"]},
    ):
        (tmp_path / "p" / "model_index.json").write_text(json.dumps({**index, **change}))
        with pytest.raises(UserError, match=change["_class_name"]):
            import_model(tmp_path / "p", tmp_path / "out", None, None, print)
