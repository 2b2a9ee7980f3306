"""Hugging Face pipelines with random weights: what is imported computes what diffusers' own classes compute.

One pass of the network within 2e-5; ten steps of the pipeline's own scheduler, guided, within 1e-4 (relative,
in the L2 norm). The pipeline and ldmkit start from the same x_T.
"""

from __future__ import annotations

import json

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from tiny_pipelines import (
    NEGATIVE,
    PROMPT,
    SCALE,
    SCHEDULERS,
    autoencoder,
    conditional_unet,
    dit,
    large,
    quiet,
    stable_diffusion,
    text_encoder,
    unconditional_unet,
    vq,
)

import ldmkit
from ldmkit.errors import UserError
from ldmkit.interchange import export_model, import_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def imported(pipeline, place):
    pipeline.save_pretrained(place / "pipeline")
    notes = []
    recipe = import_model(place / "pipeline", place / "out", None, None, notes.append)
    return ldmkit.build(recipe), notes


def guided(model, raw, first, **options):
    """Ten steps from what diffusers' network was shown first (where that is x_T itself)."""
    conditions = model.condition(raw)
    null = model.condition({**raw, "caption": [NEGATIVE]}) if "caption" in raw else None
    guidance = [{"name": "classifier-free", "scale": SCALE}] if raw else None
    return model.sample_latent(conditions, noise=first, steps=10, guidance=guidance, null=null, **options)


@pytest.fixture
def noise():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))


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
    notes = []
    import_model(tmp_path / "p", tmp_path / "out", None, None, notes.append)
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


def unit(pipeline, noise):
    """x_T of unit variance as ldmkit means it: some schedulers scale theirs by sigma alone, and not by the
    root of 1 + sigma^2."""
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(10)
    first = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, scheduler.timesteps[0])
    return first


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
def test_latent_diffusion_without_conditions(tmp_path, error):
    pipeline = quiet(
        diffusers.LDMPipeline(vqvae=vq(), unet=unconditional_unet(), scheduler=SCHEDULERS["DDIM"])
    )
    model, _ = imported(pipeline, tmp_path)
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    theirs = pipeline(1, torch.Generator().manual_seed(5), num_inference_steps=10, output_type="np").images
    own = model.compression.decode(model.sample_latent({}, noise=start, steps=10)) / 2 + 0.5
    assert torch.allclose(torch.from_numpy(theirs).permute(0, 3, 1, 2), own.clamp(0, 1), atol=1e-4)


@torch.no_grad()
def test_latent_diffusion_of_a_low_resolution_picture(tmp_path, error):
    parts = {"vqvae": vq(), "unet": unconditional_unet(6, 3), "scheduler": SCHEDULERS["DDIM"]}
    pipeline = quiet(diffusers.LDMSuperResolutionPipeline(**parts))
    model, _ = imported(pipeline, tmp_path)
    small = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(small, 1, 10, generator=generator, output_type="np").images
    own = model.sample_latent(model.condition({"low_res": small}), noise=start, steps=10)
    decoded = (model.compression.decode(own) / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(torch.from_numpy(theirs).permute(0, 3, 1, 2), decoded, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_diffusion_of_pixels(kind, tmp_path, error, monkeypatch):
    """With clipping, as published: the schedulers' default."""
    scheduler = getattr(diffusers, f"{kind}Scheduler")()
    pipeline = getattr(diffusers, f"{kind}Pipeline")(unet=unconditional_unet(), scheduler=scheduler)
    model, _ = imported(quiet(pipeline), tmp_path)
    assert model.recipe.compression.name == "identity"
    assert [guide.name for guide in model.recipe.guidance] == ["clamp"]
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    expected = pipeline.unet(start, 401).sample
    assert error(model.denoise(start, torch.tensor([401.0]), {}), expected) < 2e-5
    draws = [torch.randn(1, 3, 8, 8) for _ in range(10)]
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(10)
    module = __import__(type(scheduler).__module__, fromlist=["x"])
    taken = iter(draws)
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(taken))
    z = start
    for t in scheduler.timesteps:
        z = scheduler.step(pipeline.unet(z, t).sample, t, z).prev_sample
    monkeypatch.setattr("ldmkit.engine.sampling.step_noise", lambda *_: lambda i: draws[i])
    assert error(model.sample_latent({}, noise=start, steps=10), z) < 1e-4


@torch.no_grad()
def test_a_diffusion_transformer_of_classes(noise, tmp_path, error):
    parts = {"transformer": dit(), "vae": autoencoder(), "scheduler": SCHEDULERS["DDIM"]}
    pipeline = quiet(diffusers.DiTPipeline(**parts))
    model, notes = imported(pipeline, tmp_path)
    condition = model.condition({"label": [207]})
    expected = pipeline.transformer(noise, torch.tensor([801]), torch.tensor([207])).sample
    assert error(model.denoise(noise, torch.tensor([801.0]), condition), expected) < 2e-5
    scheduler, z = pipeline.scheduler, noise
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        said = pipeline.transformer(torch.cat([z, z]), t.expand(2), torch.tensor([207, 1000])).sample[:, :4]
        wanted, null = said.chunk(2)
        z = scheduler.step(null + SCALE * (wanted - null), t, z).prev_sample
    guidance = [{"name": "classifier-free", "scale": SCALE}]
    assert error(model.sample_latent(condition, noise=noise, steps=10, guidance=guidance), z) < 1e-4
    assert any("variance" in note for note in notes)


def test_a_diffusion_transformer_is_written_again_bit_for_bit(tmp_path):
    parts = {"transformer": dit(), "vae": autoencoder(), "scheduler": SCHEDULERS["DDIM"]}
    model, _ = imported(diffusers.DiTPipeline(**parts), tmp_path)
    export_model(model, tmp_path / "again", "diffusers")
    for name in ("transformer", "vae"):
        file = f"{name}/diffusion_pytorch_model.safetensors"
        before, after = (load_file(tmp_path / folder / file) for folder in ("pipeline", "again"))
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    pipeline = quiet(diffusers.DiTPipeline.from_pretrained(tmp_path / "again"))
    assert pipeline([207], num_inference_steps=2).images[0].size == (16, 16)


def test_a_diffusion_transformer_whose_blocks_differ_in_their_embedders_is_refused(tmp_path):
    model = dit()
    model.transformer_blocks[1].norm1.emb.class_embedder.embedding_table.weight.data += 1
    parts = {"transformer": model, "vae": autoencoder(), "scheduler": SCHEDULERS["DDIM"]}
    diffusers.DiTPipeline(**parts).save_pretrained(tmp_path / "pipeline")
    with pytest.raises(UserError, match=r"left over: transformer_blocks\.1\.norm1\.emb\.class_embedder"):
        import_model(tmp_path / "pipeline", tmp_path / "out", None, None, print)


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


def test_a_pipeline_that_no_recipe_holds_is_named(tmp_path):
    stable_diffusion().save_pretrained(tmp_path / "p")
    index = json.loads((tmp_path / "p" / "model_index.json").read_text())
    for change in (
        {"_class_name": "StableDiffusionControlNetPipeline", "controlnet": ["diffusers", "ControlNetModel"]},
    ):
        (tmp_path / "p" / "model_index.json").write_text(json.dumps({**index, **change}))
        with pytest.raises(UserError, match=change["_class_name"]):
            import_model(tmp_path / "p", tmp_path / "out", None, None, print)
