"""`ldmkit train`: stages in order or one, restarts, adapters and dry runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import training_toy
import yaml
from click.testing import CliRunner
from test_training import SHORT

from ldmkit.cli import train as verb
from ldmkit.errors import Note, UserError


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`ldmkit train` of a toy recipe file, in a process that knows the toy's components alone."""
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(training_toy.RECIPE))
    toys = SimpleNamespace(registry=training_toy.registry())
    monkeypatch.setattr("ldmkit.engine.opening.host", lambda: toys)
    settings = [x for s in SHORT for x in ("-s", s)]
    return lambda *args: CliRunner().invoke(
        verb.command, [str(file), "--runs", str(tmp_path / "runs"), *settings, *args], catch_exceptions=False
    )


def test_the_verb_trains_stages_in_order_or_one(command):
    with pytest.raises(UserError, match="no weights for its compression stage"):
        command("--stage", "diffusion")
    assert command("--stage", "compression").exit_code == 0
    alone = command("--stage", "diffusion")
    assert "compression.safetensors" in alone.output
    assert command("-s", "denoiser=null", "--stage", "compression").exit_code == 0


def test_restart_forgets_what_was_learned(command, tmp_path):
    command("--stage", "compression")
    (weights,) = tmp_path.glob("runs/toy/compression-*/compression.safetensors")
    made = weights.stat().st_mtime_ns
    command("--stage", "compression")
    assert weights.stat().st_mtime_ns == made
    command("--stage", "compression", "--restart")
    assert weights.stat().st_mtime_ns > made


STYLE = "adapters={style: {name: toy, train: {steps: 3, batch: 4, lr: 0.5, data: {name: toy, count: 14}}}}"


def test_the_verb_trains_an_adapter_alone_on_the_weights_that_are_there(command, tmp_path):
    with pytest.raises(UserError, match="no weights for its compression stage"):
        command("-s", STYLE, "--stage", "style")
    assert command().exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/toy/*/*")}
    result = command("-s", STYLE, "--stage", "style")
    assert "diffusion: reused" in result.output
    (made,) = tmp_path.glob("runs/toy/style-*/style.safetensors")
    first = made.stat().st_mtime_ns
    # All of it, and anew: the model that the adapter stands on stays as it is.
    assert "adapter style: reused" in command("-s", STYLE).output
    command("-s", STYLE, "--restart")
    assert made.stat().st_mtime_ns > first
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(UserError, match=r"no stage 'stile'; there are: .*style; did you mean 'style'\?"):
        command("-s", STYLE, "--stage", "stile")


def test_an_adapter_is_trained_from_the_weights_that_a_recipe_names(command, tmp_path):
    command()
    named = ["-s", f"weights={tmp_path}/runs/toy", "-s", "train={}", "-s", "name=named"]
    result = command(*named, "-s", STYLE, "--stage", "style")
    assert f"diffusion: reused {tmp_path}/runs/toy/diffusion-" in result.output
    assert [path.name for path in tmp_path.glob("runs/named/*/*.safetensors")].count("style.safetensors") == 1
    assert not [*tmp_path.glob("runs/named/diffusion-*")]


def test_a_dry_run_says_what_an_adapter_takes(command, tmp_path):
    command()
    said = command("-s", STYLE, "--stage", "style", "--dry-run").output
    assert "style: 3 steps of 4 pictures" in said
    assert "compression:" not in said
    assert not [*tmp_path.glob("runs/toy/style-*")]
    command("-s", STYLE, "--stage", "style")
    assert "style: has its weights already" in command("-s", STYLE, "--dry-run").output
    anew = command("-s", STYLE, "--dry-run", "--restart").output
    assert "style: has its weights already" not in anew
    assert "style: 3 steps of" in anew
    with pytest.warns(Note, match=r"style: begins anew: .* has adapters.style.train.lr=0.5 \(here 0.25\)$"):
        command("-s", STYLE, "-s", "adapters.style.train.lr=0.25", "--dry-run")


def test_a_dry_run_says_which_values_let_a_training_begin_anew(command):
    command()
    with pytest.warns(Note) as notes:
        command("-s", "train.diffusion.lr=0.5", "--dry-run")
    assert len(notes) == 1
    assert str(notes[0].message).endswith("(finished) has train.diffusion.lr=0.01 (here 0.5)")
