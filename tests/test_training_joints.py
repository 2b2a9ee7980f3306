"""Auxiliary losses and callbacks in a training of the toy."""

from __future__ import annotations

import json
import random
import signal

import pytest
import torch
from safetensors.torch import load_file
from test_training import SHORT, folder, records, weights_of
from training_toy import toy, train

from ldmkit.engine.weights import stage_folder
from ldmkit.errors import UserError
from ldmkit.recipe import digest


def test_an_auxiliary_loss_trains_its_head_beside_the_denoiser(tmp_path):
    usual = weights_of(tmp_path, *SHORT)
    with pytest.raises(UserError, match=r"auxiliary \(toy\): no layer 'int'; did you mean 'into'\?"):
        weights_of(tmp_path, *SHORT, "train.diffusion.auxiliary=[{name: toy, layer: int}]")
    named = [*SHORT, "train.diffusion.auxiliary=[{name: toy, weight: 3}, {name: toy, weight: 0}]"]
    aided = weights_of(tmp_path, *named)
    assert aided.keys() == usual.keys()
    assert not torch.equal(aided["denoiser.into.weight"], usual["denoiser.into.weight"])
    run = folder(tmp_path, "diffusion", *named)
    held = load_file(run / "step-00000004" / "model.safetensors")
    first = load_file(run / "step-00000002" / "model.safetensors")
    heads = [n for n in held if n.startswith("auxiliary.losses.toy.head")]
    assert any(not torch.equal(held[n], first[n]) for n in heads)
    assert not any(n.startswith("auxiliary") for n in load_file(run / "diffusion.raw.safetensors"))
    (line,) = [r for r in records(run) if "objective" in r]
    assert line["loss"] == pytest.approx(line["objective"] + line["toy"] + line["toy-1"], rel=1e-5)


def test_an_auxiliary_loss_of_weight_0_changes_no_bit_of_the_output(tmp_path):
    usual = weights_of(tmp_path, *SHORT, "train.diffusion.clip=0.5")
    null = weights_of(
        tmp_path, *SHORT, "train.diffusion.clip=0.5", "train.diffusion.auxiliary=[{name: toy, weight: 0}]"
    )
    assert [n for n in usual if not torch.equal(usual[n], null[n])] == []


@pytest.mark.parametrize("raises", ["", "begin", "figures", "picture", "end"])
def test_a_callback_changes_no_bit_whatever_it_does(tmp_path, raises):
    usual = weights_of(tmp_path / "without", *SHORT)
    random.seed(0)
    drawn = random.random()
    random.seed(0)
    said = []
    callback = f"train.callbacks=[{{name: toy, raises: '{raises}'}}]"
    system = train(tmp_path / "with", *SHORT, callback, say=said.append)
    assert random.random() == drawn
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert stage_folder(system.recipe, system.registry, "diffusion", tmp_path / "without").is_dir()
    run = stage_folder(system.recipe, system.registry, "diffusion", tmp_path / "with")
    watched = load_file(run / "diffusion.safetensors")
    assert [n for n in usual if not torch.equal(usual[n], watched[n])] == []
    reported = [text for text in said if text.startswith("callback (toy): RuntimeError: no such tracker")]
    assert len(reported) == (2 if raises else 0)
    seen = json.loads((run / "seen.json").read_text())
    assert seen[0] == ["begin", "diffusion", 0, 4, "toy"]
    if not raises:
        assert [name for name, *_ in seen] == ["begin", "figures", "figures", "picture", "end"]
        assert {"gradient", "loss", "lr"} < set(seen[1][2:])
        assert seen[2:] == [["figures", 4, "validation_loss"], ["picture", 4, 44, 24], ["end", "finished"]]


def test_a_callback_is_told_that_a_training_failed(tmp_path):
    overrides = ["train.callbacks=[toy]", "train.compression.loss=[explosive]", "data.red=1"]
    with pytest.raises(UserError, match="not finite"):
        train(tmp_path, *overrides, stages=["compression"], say=lambda _: None)
    (seen,) = tmp_path.glob("toy/compression-*/seen.json")
    assert json.loads(seen.read_text())[-1] == ["end", "failed"]


def test_a_recipe_keeps_its_digests_until_it_uses_a_joint():
    recipe = toy().recipe
    assert digest(recipe, "diffusion").startswith("ef182d1a871ea6c2")
    named = toy("train.diffusion.optimizer=muon", "train.diffusion.weight_decay=0").recipe
    assert digest(named, "diffusion") != digest(recipe, "diffusion")
    assert digest(named, "compression") == digest(recipe, "compression")
