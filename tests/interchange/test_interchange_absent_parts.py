"""A configuration that promises a part whose weights are not there is refused in one line, or told."""

from __future__ import annotations

import json
import shutil

import diffusers
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_pipelines import SCHEDULERS, large, stable_diffusion, unconditional_unet, vq

from ldmkit.errors import UserError
from ldmkit.interchange import import_model


@pytest.fixture
def single_file(reference, checkpoint, tmp_path):
    """Imports a reference model's single file with entries of its configuration changed; the notes."""

    def run(name, unet=(), **params):
        config = yaml.safe_load(reference(name).config.read_text())
        own = config["model"]["params"]
        own["unet_config"]["params"] |= dict(unet)
        own |= params
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        notes = []
        import_model(checkpoint(name), tmp_path / "out", tmp_path / "config.yaml", None, notes.append)
        return notes

    return run


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"num_classes": 1000}, "num_classes is 1000, .* give none"),
        ({"num_classes": "sequential", "adm_in_channels": 64}, "num_classes is sequential, .* give none"),
        (
            {"use_spatial_transformer": True, "context_dim": 64},
            "use_spatial_transformer is True, .* give none",
        ),
        ({"in_channels": 9}, "in_channels is 9, .* give 3"),
        ({"out_channels": 6}, "out_channels is 6, .* give 3"),
    ],
)
def test_a_network_of_a_single_file_that_is_promised_more_layers(entries, message, single_file, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        single_file("celebahq-vq4", unet=entries)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_context_of_another_width_than_the_conditions(single_file):
    with pytest.raises(UserError, match="context_dim is 77, "):
        single_file("cin256-v2", unet={"context_dim": 77})


def test_averages_that_are_promised_and_absent_are_told(reference, tmp_path):
    state = {k: x for k, x in reference("celebahq-vq4").state().items() if not k.startswith("model_ema.")}
    torch.save({"state_dict": state}, tmp_path / "pruned.ckpt")
    config = yaml.safe_load(reference("celebahq-vq4").config.read_text())
    told = {}
    for promised in (True, False):
        config["model"]["params"]["use_ema"] = promised
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        out, notes = tmp_path / f"out-{promised}", []
        import_model(tmp_path / "pruned.ckpt", out, tmp_path / "config.yaml", None, notes.append)
        told[promised] = [note for note in notes if "use_ema" in note]
    assert len(told[True]) == 1
    assert "no averaged weights" in told[True][0]
    assert not told[False]


@pytest.mark.parametrize(
    ("prefix", "missing"),
    [
        ("first_stage_model.quant_conv", r"quant_conv\.weight"),
        ("first_stage_model.post_quant_conv", r"post_quant_conv\.weight"),
        ("cond_stage_model.", r"embedding\.weight"),
    ],
)
def test_a_single_file_without_the_weights_of_a_part(prefix, missing, reference, tmp_path):
    state = {k: x for k, x in reference("cin256-v2").state().items() if not k.startswith(prefix)}
    torch.save({"state_dict": state}, tmp_path / "model.ckpt")
    with pytest.raises(UserError, match=f"missing: {missing}"):
        import_model(tmp_path / "model.ckpt", tmp_path / "out", reference("cin256-v2").config, None, print)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Folders of pipelines by name."""
    place = tmp_path_factory.mktemp("pipelines")
    stable_diffusion().save_pretrained(place / "text")
    large().save_pretrained(place / "large")
    parts = {"vqvae": vq(), "unet": unconditional_unet(6), "scheduler": SCHEDULERS["DDIM"]}
    diffusers.LDMSuperResolutionPipeline(**parts).save_pretrained(place / "super-resolution")
    return place


@pytest.fixture
def folder(pipelines, tmp_path):
    """A copy of a pipeline, with entries of one of its files changed, and its import."""

    def run(name, file, **entries):
        copy = shutil.copytree(pipelines / name, tmp_path / "pipeline")
        held = json.loads((copy / file).read_text())
        (copy / file).write_text(json.dumps({**held, **entries}))
        return lambda: import_model(copy, tmp_path / "out", None, None, lambda line: None), copy

    return run


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("super-resolution", {"num_class_embeds": 10}, "num_class_embeds is 10, .* give none"),
        ("text", {"num_class_embeds": 10}, r"missing: class_embedding\.weight"),
        ("text", {"addition_embed_type": "text_time"}, "addition_embed_type is text_time, .* give none"),
        ("text", {"class_embed_type": "timestep"}, "class_embed_type: timestep is not supported"),
        ("large", {"addition_embed_type": None}, "num_class_embeds is None, .* give 24"),
        ("text", {"cross_attention_dim": 48}, "cross_attention_dim is 48, .* give 32"),
    ],
)
def test_a_network_of_a_folder_that_is_promised_more_layers(name, entries, message, folder, tmp_path):
    run, _ = folder(name, "unet/config.json", **entries)
    with pytest.raises(UserError, match=message) as caught:
        run()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("text", {"text_encoder": [None, None]}, "cross_attention_dim is 32, .* give none"),
        ("large", {"text_encoder": [None, None]}, "a refiner"),
        ("large", {"text_encoder_2": [None, None]}, "addition_embed_type is text_time, .* give none"),
        ("text", {"vae": [None, None]}, "1 more input channels than the latent has"),
    ],
)
def test_an_index_without_one_of_the_parts_that_the_network_reads(name, entries, message, folder):
    run, _ = folder(name, "model_index.json", **entries)
    with pytest.raises(UserError, match=message):
        run()


@pytest.mark.parametrize(
    ("name", "file", "key", "message"),
    [
        ("text", "vae/diffusion_pytorch_model", "quant_conv.weight", r"missing: quant_conv\.weight"),
        ("text", "vae/diffusion_pytorch_model", "post_quant_conv.bias", r"missing: post_quant_conv\.bias"),
        ("large", "text_encoder_2/model", "text_projection.weight", "lack or misfit 1 tensors"),
        ("large", "unet/diffusion_pytorch_model", "add_embedding.linear_2.bias", "missing: add_embedding"),
    ],
)
def test_weights_that_lack_a_part_of_their_configuration(name, file, key, message, folder):
    run, copy = folder(name, "model_index.json")
    path = copy / f"{file}.safetensors"
    save_file({k: x for k, x in load_file(path).items() if k != key}, path, {"format": "pt"})
    with pytest.raises(UserError, match=message):
        run()


@pytest.mark.parametrize(("offset", "refused"), [(5000, True), (20, True), (19, False)])
def test_an_offset_that_leads_beyond_the_last_timestep(offset, refused, folder, tmp_path):
    """Fifty steps of 1000 timesteps, twenty apart: the first is at 980 + offset, the last timestep is 999."""
    run, _ = folder("text", "scheduler/scheduler_config.json", steps_offset=offset)
    if refused:
        with pytest.raises(UserError, match=rf"offset {offset} .*with 50 steps at most 19$") as caught:
            run()
        assert "\n" not in str(caught.value)
    else:
        run()
    assert (tmp_path / "out").exists() != refused
