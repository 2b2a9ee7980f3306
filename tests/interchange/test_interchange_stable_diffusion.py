"""Stable Diffusion's single files at reduced width, with text encoders that other libraries compute."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import ldmkit
from ldmkit.engine.system import assemble
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange import export_model, import_model
from ldmkit.recipe import load, resolve

WIDTH = 64
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32,
    "attention_resolutions": [2, 1], "num_res_blocks": 1, "channel_mult": [1, 2], "num_heads": 4,
    "use_spatial_transformer": True, "transformer_depth": 1, "context_dim": WIDTH, "use_checkpoint": True,
    "legacy": False,
}  # fmt: skip
SECOND = {"use_fp16": True, "num_head_channels": 32, "use_linear_in_transformer": True}
DDCONFIG = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32,
    "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
FIRST_STAGE = {
    "target": "ldm.models.autoencoder.AutoencoderKL",
    "params": {
        "embed_dim": 4,
        "monitor": "val/rec_loss",
        "ddconfig": DDCONFIG,
        "lossconfig": {"target": "torch.nn.Identity"},
    },
}
PARAMS = {
    "linear_start": 0.00085, "linear_end": 0.0120, "num_timesteps_cond": 1, "log_every_t": 200,
    "timesteps": 1000, "first_stage_key": "jpg", "cond_stage_key": "txt", "image_size": 8, "channels": 4,
    "cond_stage_trainable": False, "conditioning_key": "crossattn", "monitor": "val/loss_simple_ema",
    "scale_factor": 0.18215, "use_ema": False,
    "scheduler_config": {"target": "ldm.lr_scheduler.LambdaLinearScheduler", "params": {}},
    "first_stage_config": FIRST_STAGE,
}  # fmt: skip
TARGET = "ldm.modules.diffusionmodules.openaimodel.UNetModel"
MODULES = "sgm.modules.diffusionmodules"
ENCODERS = "ldm.modules.encoders.modules"


def configuration(kind):
    """The published configuration of a model: "1", "2" or "inpainting"."""
    params = copy.deepcopy(PARAMS)
    unet, target = dict(UNET), "ldm.models.diffusion.ddpm.LatentDiffusion"
    encoder = {"target": f"{ENCODERS}.FrozenCLIPEmbedder"}
    if kind == "upscaler":
        unet |= {"in_channels": 7, "num_classes": 1000, "disable_self_attentions": [True, False]}
        unet |= {"use_linear_in_transformer": True, "disable_middle_self_attn": False}
        noise = {"linear_start": 0.0001, "linear_end": 0.02}
        target = "ldm.models.diffusion.ddpm.LatentUpscaleDiffusion"
        params |= {
            "parameterization": "v",
            "conditioning_key": "hybrid-adm",
            "low_scale_key": "lr",
            "low_scale_config": {
                "target": "ldm.modules.diffusionmodules.upscaling.ImageConcatWithNoiseAugmentation",
                "params": {"noise_schedule_config": noise, "max_noise_level": 350},
            },
        }
    if kind in ("2", "upscaler"):
        encoder = {
            "target": f"{ENCODERS}.FrozenOpenCLIPEmbedder",
            "params": {"freeze": True, "layer": "penultimate"},
        }
    if kind == "2":
        del unet["num_heads"]
        unet |= SECOND
        params["parameterization"] = "v"
    if kind == "inpainting":
        unet["in_channels"] = 9
        params |= {"conditioning_key": "hybrid", "finetune_keys": None}
        target = "ldm.models.diffusion.ddpm.LatentInpaintDiffusion"
    params |= {"unet_config": {"target": TARGET, "params": unet}, "cond_stage_config": encoder}
    return {"model": {"base_learning_rate": 1e-4, "target": target, "params": params}}


def tokenizer(place):
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(place)
    return place, len(vocabulary)


def stirred(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return module.eval()


def clip(size):
    """OpenAI's kind of encoder, as FrozenCLIPEmbedder holds it: (tensors of the file, states of ids)."""
    ids = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    sizes = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 1}
    model = stirred(CLIPTextModel(CLIPTextConfig(vocab_size=size, **sizes, **ids)))
    tensors = {k.removeprefix("text_model."): v for k, v in model.state_dict().items()}
    own = {f"cond_stage_model.transformer.text_model.{k}": v for k, v in tensors.items()}
    own["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return own, lambda tokens: model(tokens).last_hidden_state


def penultimate(size):
    """open_clip's encoder, as FrozenOpenCLIPEmbedder holds it: states before the last block, normalised."""
    made = open_clip.transformer.TextTransformer(
        context_length=77, vocab_size=size, width=WIDTH, heads=1, layers=3, output_dim=32
    )
    model = stirred(made)
    own = {f"cond_stage_model.model.{k}": v for k, v in model.state_dict().items()}
    own["cond_stage_model.model.logit_scale"] = torch.tensor(4.6)

    def states(tokens):
        x = model.token_embedding(tokens) + model.positional_embedding
        for block in model.transformer.resblocks[:-1]:
            x = block(x, attn_mask=model.attn_mask)
        return model.ln_final(x)

    return own, states


@pytest.fixture
def published(tmp_path):
    """A published file by kind: paths of file, configuration and tokenizer, its state, its text encoder."""

    def make(kind):
        torch.manual_seed(0)
        place, size = tokenizer(tmp_path / "tokenizer")
        config = configuration(kind)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        tensors, states = penultimate(size) if kind in ("2", "upscaler") else clip(size)
        state = {**backbone(kind), **tensors}
        torch.save({"state_dict": state, "global_step": 5}, tmp_path / "model.ckpt")
        return tmp_path / "model.ckpt", tmp_path / "config.yaml", place, state, states

    return make


ALPHA_BAR = float((1 - torch.linspace(0.0001**0.5, 0.02**0.5, 1000, dtype=torch.float64) ** 2).prod())
"""Of the last of an upscaler's 1000 noise levels."""


def backbone(kind):
    """Random tensors of UNet and first stage, under published names, out of ldmkit's own export of such a
    model without text encoder: their names are held against the published ones elsewhere."""
    sizes = {"width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2, 1], "heads": 4}
    sizes |= {"cross_only": [1]} if kind == "upscaler" else {}
    first = {"factor": 2, "channels": 4, "width": 32, "multipliers": [1, 2], "blocks": 1}
    conditioners = {"caption": {"name": "text-transformer", "width": WIDTH, "layers": 1}}
    recipe = {
        "recipe": 1,
        "name": "toy",
        "compression": {"name": "kl-autoencoder", **first},
        "conditioners": conditioners,
        "denoiser": {"name": "unet", **sizes},
    }
    registry = host().registry
    system = stirred(assemble(resolve(load(recipe), registry), registry))
    from ldmkit.interchange.model import save_part

    unet = save_part(system, "denoiser", "compvis")
    name = "input_blocks.0.0.weight"
    more = {"inpainting": 9, "upscaler": 7}.get(kind)
    unet[name] = torch.randn(32, more, 3, 3) * 0.1 if more else unet[name]
    if kind == "upscaler":
        unet["label_emb.weight"] = torch.randn(1000, 128) * 0.1
    if kind in ("2", "upscaler"):  # linear layers in the place of 1x1 convolutions
        unet = {
            k: x.flatten(1) if "proj_in.weight" in k or "proj_out.weight" in k else x for k, x in unet.items()
        }
    first = save_part(system, "compression", "compvis")
    own = {f"model.diffusion_model.{k}": x for k, x in unet.items()}
    return own | {f"first_stage_model.{k}": x for k, x in first.items()}


@torch.no_grad()
@pytest.mark.parametrize("kind", ["1", "2", "inpainting", "upscaler"])
def test_a_single_file_with_its_text_encoder(kind, published, tmp_path, error):
    file, config, words, state, states = published(kind)
    notes = []
    recipe = import_model(file, tmp_path / "in", config, None, notes.append, tokenizer=words)
    model = ldmkit.build(recipe)
    assert model.recipe.objective.name == ("v" if kind in ("2", "upscaler") else "epsilon")
    assert float(model.compression.scale[0]) == pytest.approx(0.18215)
    raw = {"caption": ["a red fox"]}
    ids = model.conditioners["caption"].prepare(raw)["caption"]
    if kind == "inpainting":
        raw |= {"image": torch.zeros(1, 3, 16, 16), "mask": torch.ones(1, 1, 16, 16)}
        assert list(model.recipe.conditioners) == ["caption", "image"]
    if kind == "upscaler":
        raw |= {"low_res": torch.zeros(1, 3, 8, 8)}
        assert list(model.recipe.conditioners) == ["caption", "low_res"]
        low = model.conditioners["low_res"]
        assert (low.most, low.schedule.timesteps) == (349, 1000)
        assert float(low.schedule.level(torch.ones(())).alpha) ** 2 == pytest.approx(ALPHA_BAR, rel=1e-5)
    condition = model.condition(raw)
    assert error(condition["caption"].tokens, states(ids)) < 2e-5
    raw_output = model.denoise(torch.randn(1, 4, 8, 8), torch.tensor([3.0]), condition)
    assert raw_output.isfinite().all()
    loaded = load_file(recipe.with_name("diffusion.safetensors"))
    bias = state["model.diffusion_model.out.2.bias"]
    assert torch.equal(loaded["denoiser.conv_out.bias"], bias)
    assert any("penultimate" in note for note in notes) == (kind in ("2", "upscaler"))


def engine(config, parameterization):
    """The same model as sgm configures it."""
    old = config["model"]["params"]
    drop = {"use_spatial_transformer", "legacy", "image_size", "use_fp16"}
    unet = {key: value for key, value in old["unet_config"]["params"].items() if key not in drop}
    embedder = {"is_trainable": False, "input_key": "txt", **old["cond_stage_config"]}
    first = {"target": "sgm.models.autoencoder.AutoencoderKL", "params": FIRST_STAGE["params"]}
    scaling = "VScaling" if parameterization == "v" else "EpsScaling"
    denoiser = {
        "num_idx": 1000,
        "scaling_config": {"target": f"sgm.modules.diffusionmodules.denoiser_scaling.{scaling}"},
        "discretization_config": {
            "target": "sgm.modules.diffusionmodules.discretizer.LegacyDDPMDiscretization"
        },
    }
    params = {
        "scale_factor": 0.18215,
        "disable_first_stage_autocast": True,
        "denoiser_config": {
            "target": "sgm.modules.diffusionmodules.denoiser.DiscreteDenoiser",
            "params": denoiser,
        },
        "network_config": {"target": TARGET.replace("ldm", "sgm"), "params": unet},
        "conditioner_config": {
            "target": "sgm.modules.GeneralConditioner",
            "params": {"emb_models": [embedder]},
        },
        "first_stage_config": first,
        "sampler_config": {"target": "sgm.modules.diffusionmodules.sampling.EulerEDMSampler"},
    }
    return {"model": {"target": "sgm.models.diffusion.DiffusionEngine", "params": params}}


@torch.no_grad()
def test_sgms_names_for_the_same_classes(published, tmp_path, error):
    file, config, words, state, _ = published("2")
    old = import_model(file, tmp_path / "old", config, None, print, tokenizer=words)
    prefix, own = "cond_stage_model.", "conditioner.embedders.0."
    renamed = {k.replace(prefix, own, 1) if k.startswith(prefix) else k: x for k, x in state.items()}
    torch.save({"state_dict": {**renamed, "denoiser.sigmas": torch.ones(1000)}}, file)
    new = engine(yaml.safe_load(config.read_text()), "v")
    config.write_text(yaml.safe_dump(new))
    again = import_model(file, tmp_path / "new", config, None, print, tokenizer=words)
    models = [ldmkit.build(recipe) for recipe in (old, again)]
    assert models[1].recipe.objective.name == "v"
    assert models[0].recipe.schedule == models[1].recipe.schedule
    conditions = [model.condition({"caption": ["a red fox"]}) for model in models]
    z, time = torch.randn(1, 4, 8, 8), torch.tensor([400.0])
    first, second = (m.denoise(z, time, c) for m, c in zip(models, conditions, strict=True))
    assert torch.equal(first, second)
    embedders = new["model"]["params"]["conditioner_config"]["params"]["emb_models"]
    embedders.append({"target": "sgm.modules.encoders.modules.ConcatTimestepEmbedderND"})
    config.write_text(yaml.safe_dump(new))
    with pytest.raises(UserError, match=r"2 embedders .*ConcatTimestepEmbedderND.*holds one"):
        import_model(file, tmp_path / "xl", config, None, print, tokenizer=words)


@pytest.mark.parametrize("folder", ["moved", "in"])
def test_the_imported_folder_may_be_moved(folder, published, tmp_path):
    file, config, words, *_ = published("1")
    import_model(file, tmp_path / "in", config, None, print, tokenizer=words)
    (tmp_path / "in").rename(tmp_path / folder)
    model = ldmkit.build(tmp_path / folder / "recipe.yaml")
    assert model.sample(["a"], 0, steps=1)[0].size == (16, 16)


def test_a_single_file_is_written_again_bit_for_bit(published, tmp_path):
    file, config, words, state, _ = published("1")
    recipe = import_model(file, tmp_path / "in", config, None, print, tokenizer=words)
    export_model(ldmkit.build(recipe), tmp_path / "out", "compvis")
    again = torch.load(tmp_path / "out" / "model.ckpt", weights_only=True)["state_dict"]
    left = {"scale_factor", "cond_stage_model.transformer.text_model.embeddings.position_ids"}
    assert again.keys() ^ state.keys() == left
    assert all(torch.equal(again[key], state[key]) for key in again.keys() & state.keys())
    written = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())["model"]["params"]
    assert written["cond_stage_config"]["target"] == f"{ENCODERS}.FrozenCLIPEmbedder"
    third = import_model(
        tmp_path / "out" / "model.ckpt", tmp_path / "again", tmp_path / "out" / "config.yaml", None, print,
        tokenizer=words,
    )  # fmt: skip
    assert third.exists()


def test_open_clips_encoder_is_written_again(published, tmp_path, error):
    """Bit for bit, but for the last block, which nothing reads: it comes back as zeros."""
    file, config, words, state, _ = published("2")
    recipe = import_model(file, tmp_path / "in", config, None, print, tokenizer=words)
    model = ldmkit.build(recipe)
    (note,) = export_model(model, tmp_path / "out", "compvis")
    assert "zeros" in note
    again = torch.load(tmp_path / "out" / "model.ckpt", weights_only=True)["state_dict"]
    unread = ("text_projection", "logit_scale", "attn_mask")
    own = {k: x for k, x in state.items() if k.startswith("cond_stage_model") and not k.endswith(unread)}
    assert own.keys() == {k for k in again if k.startswith("cond_stage_model")}
    assert all(torch.equal(again[k], x) for k, x in own.items() if "resblocks.2." not in k)
    assert all(not again[k].any() for k in own if "resblocks.2." in k)
    third = import_model(
        tmp_path / "out" / "model.ckpt", tmp_path / "again", tmp_path / "out" / "config.yaml", None, print,
        tokenizer=words,
    )  # fmt: skip
    conditions = [m.condition({"caption": ["a red fox"]}) for m in (model, ldmkit.build(third))]
    assert torch.equal(*(c["caption"].tokens for c in conditions))


def test_a_tokenizer_is_asked_for_and_must_be_one(published, tmp_path):
    file, config, *_ = published("1")
    with pytest.raises(UserError, match=r"CLIP's tokenizer.*--tokenizer"):
        import_model(file, tmp_path / "in", config, None, print)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no tokenizer"):
        import_model(file, tmp_path / "in", config, None, print, tokenizer=tmp_path / "empty")
    assert not (tmp_path / "in").exists()


def test_a_text_encoder_that_lacks_tensors_is_refused(published, tmp_path):
    file, config, words, state, _ = published("1")
    key = "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.weight"
    torch.save({"state_dict": {k: x for k, x in state.items() if k != key}}, file)
    with pytest.raises(UserError, match="lack or misfit 1 tensors"):
        import_model(file, tmp_path / "in", config, None, print, tokenizer=words)
    torch.save({"state_dict": {**state, key: state[key] * float("nan")}}, file)
    with pytest.raises(UserError, match=r"text encoder: .*fc1\.weight holds"):
        import_model(file, tmp_path / "in", config, None, print, tokenizer=words)
    assert not (tmp_path / "in").exists()
