"""Folders of diffusers that ldmkit did not write: all parts, or one first stage."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import ldmkit
from ldmkit.errors import UserError
from ldmkit.interchange import import_model


def silent(line):
    """Says nothing."""


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    """A folder laid out like Stable Diffusion's, everything tiny, and its parts."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "tiny-sd"
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder / "tokenizer")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ids = {"bos_token_id": len(letters), "eos_token_id": len(letters) + 1, "vocab_size": len(vocabulary)}
    text = CLIPTextModel(CLIPTextConfig(**sizes, **ids)).eval()
    blocks = {"block_out_channels": (32, 64), "layers_per_block": 1}
    names = {"down": ("CrossAttnDownBlock2D", "DownBlock2D"), "up": ("UpBlock2D", "CrossAttnUpBlock2D")}
    types = {f"{way}_block_types": value for way, value in names.items()}
    unet = UNet2DConditionModel(
        **blocks, **types, cross_attention_dim=16, attention_head_dim=4, sample_size=8
    )
    vae = AutoencoderKL(
        **blocks,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    )
    parts = {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": text}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    DDIMScheduler(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1).save_pretrained(
        folder / "scheduler"
    )
    index = {"_class_name": "StableDiffusionPipeline", "safety_checker": ["stable_diffusion", "Checker"]}
    index |= {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "DDIMScheduler"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder, parts


@torch.no_grad()
def test_a_folder_like_stable_diffusion(stable_diffusion, tmp_path, error, monkeypatch):
    folder, parts = stable_diffusion
    notes = []
    recipe = import_model(folder, tmp_path / "out", None, None, notes.append)
    monkeypatch.chdir(tmp_path.parent)  # the encoder's path holds anywhere
    model = ldmkit.build(recipe)
    assert any("safety_checker" in note for note in notes)
    condition = model.condition({"caption": ["a red fox", ""]})
    ids = model.conditioners["caption"].prepare({"caption": ["a red fox", ""]})["caption"]
    states = parts["text_encoder"](ids).last_hidden_state
    assert error(condition["caption"].tokens, states) < 2e-5
    z, time = torch.randn(2, 4, 8, 8), torch.tensor([3, 801])
    expected = parts["unet"](z, time, encoder_hidden_states=states).sample
    assert error(model.denoise(z, time.float(), condition), expected) < 2e-5
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    mean = parts["vae"].encode(image).latent_dist.mode() * 0.18215
    assert error(model.compression.encode(image), mean) < 2e-5
    assert model.recipe.schedule.parameters["start"] == 0.00085
    assert model.recipe.sample.size == (16, 16)


@torch.no_grad()
def test_a_first_stage_with_a_shift(tmp_path, error):
    from diffusers import AutoencoderKL

    blocks = {f"{way}_block_types": (f"{way.capitalize()}{kind}Block2D",) * 2 for way, kind in WAYS.items()}
    options = {
        "block_out_channels": (32, 64),
        "latent_channels": 4,
        "scaling_factor": 0.5,
        "shift_factor": 0.3,
    }
    vae = AutoencoderKL(**blocks, **options).eval()
    vae.save_pretrained(tmp_path / "vae")
    model = ldmkit.build(import_model(tmp_path / "vae", tmp_path / "out", None, None, silent)).compression
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    latent = (vae.encode(image).latent_dist.mode() - 0.3) * 0.5
    assert error(model.encode(image), latent) < 2e-5
    assert error(model.decode(latent), vae.decode(latent / 0.5 + 0.3).sample) < 2e-5


WAYS = {"down": "Encoder", "up": "Decoder"}


@torch.no_grad()
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_sampling_in_half_precision_makes_nearly_the_same_pictures(stable_diffusion, tmp_path, kind):
    folder, _ = stable_diffusion
    model = ldmkit.build(import_model(folder, tmp_path / "out", None, None, silent))
    options = {"steps": 4, "guidance": [{"name": "classifier-free", "scale": 3}]}
    before = model.sample(["a red fox"], seed=3, **options)[0]
    after = model.to(kind).sample(["a red fox"], seed=3, **options)[0]
    pixels = [torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8).float() for p in (before, after)]
    assert (pixels[0] - pixels[1]).abs().mean() < 4  # of 255


def test_a_folder_with_parts_that_are_missing_or_unknown(stable_diffusion, tmp_path):
    import shutil

    folder, _ = stable_diffusion
    source = shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(source / "tokenizer")
    with pytest.raises(UserError, match="tokenizer"):
        import_model(source, tmp_path / "out", None, None, silent)
    weights = source / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copytree(folder / "tokenizer", source / "tokenizer")
    with pytest.raises(UserError, match=r"tokenizer holds neither model_index\.json nor config\.json"):
        import_model(source / "tokenizer", tmp_path / "out", None, None, silent)
    save_file({**load_file(weights), "surprise": torch.ones(1)}, weights)
    with pytest.raises(UserError, match="surprise"):
        import_model(source, tmp_path / "out", None, None, silent)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UserError, match="pickled weights are not read"):
        import_model(source, tmp_path / "out", None, None, silent)
    index = json.loads((source / "model_index.json").read_text())
    (source / "model_index.json").write_text(json.dumps({**index, "prior": ["diffusers", "Prior"]}))
    with pytest.raises(UserError, match="no pipeline that a recipe can hold"):
        import_model(source, tmp_path / "out", None, None, silent)
    assert not (tmp_path / "out").exists()
