"""Stable Diffusion's single files at reduced width, with text encoders that other libraries compute."""

from __future__ import annotations

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_checkpoints import (
    ALPHA_BAR,
    ENCODERS,
    backbone,
    clip,
    configuration,
    engine,
    penultimate,
    tokenizer,
)

import ldmkit
from ldmkit.errors import UserError
from ldmkit.interchange import export_model, import_model


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


@torch.no_grad()
@pytest.mark.parametrize("kind", ["1", "2", "inpainting", "upscaler"])
def test_a_single_file_with_its_text_encoder(kind, published, tmp_path, error):
    file, config, words, state, states = published(kind)
    notes = []
    recipe = import_model(file, tmp_path / "in", config, None, notes.append, tokenizer=words)
    model = ldmkit.build(recipe)
    assert model.recipe.objective.name == ("v" if kind in ("2", "upscaler") else "epsilon")
    assert float(model.compression.scale[0]) == pytest.approx(0.18215)
    # scripts/txt2img.py of either; the second's upscaler draws with the same.
    (guide,) = model.recipe.guidance
    assert guide.parameters["scale"] == (9.0 if kind in ("2", "upscaler") else 7.5)
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
    embedders.append({"target": "sgm.modules.encoders.modules.ConcatTimestepEmbedderND", "params": {}})
    config.write_text(yaml.safe_dump(new))
    with pytest.raises(UserError, match=r"embedders .*ConcatTimestepEmbedderND.*neither one text encoder"):
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
