"""Files that are damaged, wrong or malicious: one line, exit code 2, nothing run, nothing written."""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import pickle
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.interchange import import_model

NAME = "ae-kl-f4"


class Evil:
    """Unpickled by a careless reader, it leaves a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def place(tmp_path):
    """The folder that an import must leave as it was."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def refused(place, source, *options, out="out"):
    before = sorted(place.rglob("*"))
    result = CliRunner().invoke(main, ["import", str(source), str(place / out), *map(str, options)])
    lines = result.stderr.splitlines()
    assert result.exit_code == 2, result.output
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert sorted(place.rglob("*")) == before
    return lines[0]


@pytest.fixture
def config(reference):
    """Options that name the right configuration."""
    return ["--config", reference(NAME).config]


@pytest.fixture
def altered(reference, tmp_path):
    """Options that name a configuration with changes."""

    def write(name, change):
        content = yaml.safe_load(reference(name).config.read_text())
        change(content["model"])
        path = tmp_path / "altered.yaml"
        path.write_text(yaml.safe_dump(content))
        return ["--config", path]

    return write


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code(suffix, zipped, place, tmp_path, config):
    mark, source = tmp_path / "ran", tmp_path / f"evil{suffix}"
    if zipped:
        torch.save({"state_dict": {"x": torch.zeros(1)}, "callbacks": Evil(mark)}, source)
    else:
        source.write_bytes(pickle.dumps({"state_dict": Evil(mark)}))
    assert str(source) in refused(place, source, *config)
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.999])
def test_a_truncated_checkpoint(keep, place, tmp_path, checkpoint, config):
    content = checkpoint(NAME).read_bytes()
    source = tmp_path / "cut.ckpt"
    source.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    assert str(source) in refused(place, source, *config)


def test_a_truncated_safetensors_file(place, tmp_path, reference, config):
    source = tmp_path / "cut.safetensors"
    save_file(reference(NAME).state(), source)
    source.write_bytes(source.read_bytes()[:-1])
    assert str(source) in refused(place, source, *config)


@pytest.mark.parametrize(
    "content", [[1, 2], {"state_dict": [1]}, {"state_dict": {"x": "text"}}, {3: torch.ones(1)}]
)
def test_no_state_dict(content, place, tmp_path, config):
    source = tmp_path / "odd.ckpt"
    torch.save(content, source)
    assert "no state dict" in refused(place, source, *config)


def test_keys_left_over_and_missing(place, tmp_path, reference, config):
    state, source = reference(NAME).state(), tmp_path / "keys.ckpt"
    torch.save({"state_dict": {**state, "encoder.surprise": torch.ones(1)}}, source)
    assert "encoder.surprise" in refused(place, source, *config)
    del state["encoder.conv_in.weight"]
    torch.save({"state_dict": state}, source)
    assert "encoder.conv_in.weight" in refused(place, source, *config)


ODD = {
    "NaN": lambda x: x.fill_(float("nan")),
    "infinite": lambda x: x.index_fill_(0, torch.tensor([0]), float("inf")),
    "int64": lambda x: x.long(),
    "bool": lambda x: x > 0,
    "complex64": lambda x: x.to(torch.complex64),
}


@pytest.mark.parametrize("what", ODD)
def test_weights_that_are_no_numbers(what, place, tmp_path, reference, imported, config):
    """A model of them would make black pictures without a word."""
    state, source = reference(NAME).state(), tmp_path / "odd.ckpt"
    state["encoder.conv_in.bias"] = ODD[what](state["encoder.conv_in.bias"].clone())
    torch.save({"state_dict": state}, source)
    said = refused(place, source, *config)
    assert "encoder.conv_in.bias" in said
    assert what in said
    weights = load_file(imported(NAME).with_name("compression.safetensors"))
    weights["compression.encoder.conv_in.bias"] = ODD[what](weights["compression.encoder.conv_in.bias"])
    save_file(weights, tmp_path / "compression.safetensors")
    (tmp_path / "recipe.yaml").write_text(imported(NAME).read_text())
    with pytest.raises(UserError, match=f"encoder.conv_in.bias .*{what}"):
        ldmkit.build(tmp_path / "recipe.yaml")


def test_a_stray_key_of_a_whole_model(place, tmp_path, reference):
    source = tmp_path / "stray.ckpt"
    torch.save({"state_dict": {**reference("cin256-v2").state(), "surprise.weight": torch.ones(1)}}, source)
    assert "surprise.weight" in refused(place, source, "--config", reference("cin256-v2").config)


def test_the_configuration_of_another_model(place, checkpoint, reference):
    said = refused(place, checkpoint(NAME), "--config", reference("ae-kl-f8").config)
    assert "do not fit the configuration" in said
    assert "model.diffusion_model" not in refused(
        place, checkpoint("celebahq-vq4"), "--config", reference("cin256-v2").config
    )


def test_an_unknown_entry_of_the_configuration(place, checkpoint, altered):
    change = altered("celebahq-vq4", lambda model: model["params"].update(paramaterization="eps"))
    said = refused(place, checkpoint("celebahq-vq4"), *change)
    assert "unknown key 'paramaterization'; did you mean 'parameterization'?" in said
    change = altered(NAME, lambda model: model["params"]["ddconfig"].update(tanh=True))
    assert "tanh" in refused(place, checkpoint(NAME), *change)
    change = altered(NAME, lambda model: model.update(target="os.system"))
    assert "'system' is not known" in refused(place, checkpoint(NAME), *change)


@pytest.mark.parametrize(
    "params",
    [
        {"linear_end": 0.02},
        {"beta_schedule": ["linear"]},
        {"beta_schedule": "sqrt_linear"},
        {"scale_factor": "much"},
        {"parameterization": {"eps": 1}},
        {"unet_config": None},
        {"image_size": -1},
        {"timesteps": "many"},
        {7: 7},
    ],
    ids=str,
)
def test_values_that_make_no_sense(params, place, checkpoint, altered):
    change = altered("celebahq-vq4", lambda model: model["params"].update(params))
    refused(place, checkpoint("celebahq-vq4"), *change)


@pytest.mark.parametrize("text", ["", "- 1", "model: {", "model: !!python/object/apply:os.getcwd []", "\x00"])
def test_a_configuration_that_is_none(text, place, tmp_path, checkpoint):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    refused(place, checkpoint(NAME), "--config", path)


def test_a_configuration_of_a_huge_model_is_refused_before_it_is_built(place, checkpoint, altered):
    def enlarge(model):
        model["params"]["unet_config"]["params"]["channel_mult"] = [1000, 1000]

    said = refused(place, checkpoint("celebahq-vq4"), *altered("celebahq-vq4", enlarge))
    assert "the weights do not fit the configuration: it describes" in said


def test_a_size_that_no_tensor_has(place, checkpoint, altered):
    def enlarge(model):
        model["params"]["first_stage_config"]["params"]["ddconfig"]["z_channels"] = 2**63

    said = refused(place, checkpoint("bsr-sr"), *altered("bsr-sr", enlarge))
    assert said.endswith("compression (vq-autoencoder): a size is too large for any tensor")


@pytest.mark.parametrize("scale", [0.0, 1e39, -float("inf")])
def test_a_scale_that_nothing_could_be_decoded_with(scale, place, checkpoint, altered):
    change = altered("celebahq-vq4", lambda model: model["params"].update(scale_factor=scale))
    assert "scale" in refused(place, checkpoint("celebahq-vq4"), *change)


def test_weights_that_are_not_there(place, checkpoint, reference, config):
    assert "no averaged weights" in refused(place, checkpoint(NAME), *config, "--weights", "ema")
    other = ["--config", reference("cin256-v2").config, "--weights", "ema"]
    assert "use --weights raw" in refused(place, checkpoint("cin256-v2"), *other)


def test_what_is_there_is_not_overwritten(place, checkpoint, config):
    (place / "out").mkdir()
    (place / "out" / "mine").write_text("precious")
    assert "exists and is not empty" in refused(place, checkpoint(NAME), *config)
    (place / "file").write_text("precious")
    assert "exists" in refused(place, checkpoint(NAME), *config, out="file")


def test_parents_of_the_output_are_made_on_success_only(place, tmp_path, checkpoint, reference):
    missing = tmp_path / "absent.ckpt"
    assert "no such file" in refused(place, missing, "--config", reference(NAME).config, out="a/b/out")
    assert "--config" in refused(place, checkpoint(NAME), out="a/b/out")
    assert "is a folder" in refused(place, tmp_path, "--config", reference(NAME).config, out="a/b/out")
    made = import_model(checkpoint(NAME), place / "a/b/out", reference(NAME).config, None, lambda line: None)
    assert sorted(p.name for p in made.parent.iterdir()) == ["compression.safetensors", "recipe.yaml"]
    assert [p.name for p in place.iterdir()] == ["a"]


def test_what_training_code_leaves_in_its_files(tmp_path, reference, monkeypatch):
    """Class names as keys, optimizer state, sampler tables: read past, and nothing imported for it."""
    module = "pytorch_lightning.callbacks.model_checkpoint"
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    callback = type("ModelCheckpoint", (), {"__module__": module})
    monkeypatch.setattr(sys.modules[module], "ModelCheckpoint", callback, raising=False)
    state = {**reference(NAME).state(), "loss.logvar": torch.zeros(()), "none": torch.zeros(1)}
    content = {"state_dict": state, "callbacks": {callback: {"best": 1}}, "epoch": 3}
    torch.save(content, tmp_path / "lightning.ckpt")
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module):
        monkeypatch.delitem(sys.modules, name)
    made = import_model(
        tmp_path / "lightning.ckpt", tmp_path / "out", reference(NAME).config, None, lambda line: None
    )
    assert ldmkit.build(made).compression.latent.factor == 4
    assert "compression.scale" in load_file(made.with_name("compression.safetensors"))


@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=1e-4, folder="runs"),
        collections.defaultdict(int, {"steps": 3}),
        collections.defaultdict(list),
        datetime.datetime(2022, 4, 13, 12, 30),
        Path("runs/first"),
    ],
)
def test_options_dates_and_folders_beside_the_tensors_are_read_past(beside, tmp_path, reference):
    state = {**reference(NAME).state(), "loss.logvar": torch.zeros(())}
    torch.save({"state_dict": state, "hyper_parameters": {"one": beside}}, tmp_path / "own.ckpt")
    made = import_model(
        tmp_path / "own.ckpt", tmp_path / "out", reference(NAME).config, None, lambda line: None
    )
    assert ldmkit.build(made).compression.latent.factor == 4


def test_a_pipe_in_the_place_of_a_configuration_is_no_file(tmp_path):
    (tmp_path / "p").mkdir()
    os.mkfifo(tmp_path / "p" / "model_index.json")
    with pytest.raises(UserError, match=r"model_index\.json: no file"):
        import_model(tmp_path / "p", tmp_path / "out", None, None, print)
