"""What files a model lies in: variants, shards, pickled text encoders, averages, types, links."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny_pipelines import stable_diffusion

import ldmkit
from ldmkit.errors import UserError
from ldmkit.interchange import export_model, import_model

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pipeline's folder."""
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    stable_diffusion().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it, to be changed."""
    import shutil

    return shutil.copytree(saved, tmp_path / "pipeline")


@pytest.fixture
def imported(tmp_path):
    def run(folder, name="out"):
        return import_model(folder, tmp_path / name, None, None, lambda line: None)

    return run


def tensors(recipe):
    files = [*recipe.parent.glob("*.safetensors"), recipe.parent / "text_encoder" / "model.safetensors"]
    return {f"{file.stem}: {name}": x for file in files for name, x in load_file(file).items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_folder_of_the_fp16_variant_alone(folder, saved, imported):
    for file in folder.rglob("*.safetensors"):
        half = {name: x.half() if x.is_floating_point() else x for name, x in load_file(file).items()}
        save_file(
            half, file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")), {"format": "pt"}
        )
        file.unlink()
    whole, half = tensors(imported(saved)), tensors(imported(folder, "half"))
    own = {key for key in whole if key.startswith(("diffusion", "model"))}
    assert all(torch.equal(whole[key].half(), half[key]) for key in own)
    assert ldmkit.build(folder.parent / "half" / "recipe.yaml").sample(["a"], 0, steps=1)


def test_a_folder_in_shards(folder, saved, imported):
    for file in (folder / WEIGHTS, folder / "text_encoder" / "model.safetensors"):
        state, stem = load_file(file), file.name.removesuffix(".safetensors")
        names = sorted(state)
        halves = {1: names[: len(names) // 2], 2: names[len(names) // 2 :]}
        shards = {i: f"{stem}-0000{i}-of-00002.safetensors" for i in halves}
        for i, part in halves.items():
            save_file({n: state[n] for n in part}, file.with_name(shards[i]), {"format": "pt"})
        places = {n: shards[i] for i, part in halves.items() for n in part}
        file.with_name(f"{stem}.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
        file.unlink()
    assert same(tensors(imported(saved)), tensors(imported(folder, "again")))


def test_a_text_encoder_that_is_pickled_is_read_as_tensors_alone(folder, saved, imported):
    file = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()
    recipe = imported(folder)
    assert same(tensors(imported(saved, "other")), tensors(recipe))
    assert not list(recipe.parent.rglob("*.bin"))


def test_files_in_bfloat16(folder, imported, reference, tmp_path):
    state = load_file(folder / WEIGHTS)
    save_file({name: x.bfloat16() for name, x in state.items()}, folder / WEIGHTS, {"format": "pt"})
    loaded = load_file(imported(folder).parent / "diffusion.safetensors")
    assert torch.equal(loaded["denoiser.conv_out.bias"], state["conv_out.bias"].bfloat16())
    whole = {name: x.bfloat16() for name, x in reference("celebahq-vq4").state().items()}
    torch.save({"state_dict": whole}, tmp_path / "whole.ckpt")
    config = reference("celebahq-vq4").config
    assert import_model(tmp_path / "whole.ckpt", tmp_path / "whole", config, None, print).exists()


@pytest.mark.parametrize(
    "name", ["tokenizer/vocab.json", "text_encoder/model.safetensors", WEIGHTS, "unet/config.json"]
)
def test_links_that_lead_out_are_refused(name, folder, imported, tmp_path):
    outside = tmp_path / "outside"
    if not (folder / name).exists():
        name = "tokenizer/tokenizer.json"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(UserError, match="leads out of"):
        imported(folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "unet", "vae", "scheduler"])
def test_a_part_that_is_a_link_to_a_folder_elsewhere_is_refused(part, folder, imported, tmp_path):
    (folder / part).rename(tmp_path / "outside")
    (folder / part).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match=rf"{part}\S* leads out of"):
        imported(folder)
    assert not (tmp_path / "out").exists()


def test_a_snapshot_of_the_hubs_cache_is_read(folder, saved, imported, tmp_path):
    """Its files are links into a store of the same model."""
    blobs = tmp_path / "models--me--tiny" / "blobs"
    snapshot = tmp_path / "models--me--tiny" / "snapshots" / "0123abcd"
    blobs.mkdir(parents=True)
    for i, file in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        file.rename(blobs / str(i))
        link.symlink_to(blobs / str(i))
    assert same(tensors(imported(saved)), tensors(imported(snapshot, "again")))


def test_an_imported_text_pipeline_is_written_again_bit_for_bit(saved, imported, tmp_path):
    import diffusers

    export_model(ldmkit.build(imported(saved)), tmp_path / "again", "diffusers")
    for file in sorted(saved.rglob("*.safetensors")):
        assert same(load_file(file), load_file(tmp_path / "again" / file.relative_to(saved))), file
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "again")
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    options = {"latents": noise, "num_inference_steps": 4, "output_type": "latent"}
    again = pipeline("a red fox", **options).images
    assert torch.allclose(again, stable_diffusion()("a red fox", **options).images, atol=1e-5)


@pytest.mark.parametrize("weights", [None, "ema", "raw"])
def test_a_first_stage_with_averaged_weights(weights, reference, tmp_path):
    state = {k: x for k, x in reference("ae-vq-f4").state().items() if not k.startswith("loss.")}
    config = yaml.safe_load(reference("ae-vq-f4").config.read_text())
    config["model"]["params"]["use_ema"] = True
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    average = {f"model_ema.{key.replace('.', '')}": x + 1 for key, x in state.items()}
    counters = {"model_ema.decay": torch.tensor(0.999), "model_ema.num_updates": torch.tensor(5)}
    torch.save({"state_dict": {**state, **average, **counters}}, tmp_path / "vq.ckpt")
    notes = []
    recipe = import_model(
        tmp_path / "vq.ckpt", tmp_path / "out", tmp_path / "config.yaml", weights, notes.append
    )
    loaded = load_file(recipe.with_name("compression.safetensors"))["compression.encoder.conv_in.bias"]
    assert torch.equal(loaded, state["encoder.conv_in.bias"] + (weights != "raw"))
    assert bool(notes) == (weights != "raw")
    del average["model_ema.encoderconv_inbias"]
    torch.save({"state_dict": {**state, **average, **counters}}, tmp_path / "vq.ckpt")
    with pytest.raises(UserError, match=r"model_ema does not match the first stage's.*encoderconv_inbias"):
        import_model(tmp_path / "vq.ckpt", tmp_path / "x", tmp_path / "config.yaml", None, print)
