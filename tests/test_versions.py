"""Versions that a training was made by: told where they are others than those that are installed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import training_toy
from training_toy import RECIPE, toy

from ldmkit.engine.opening import give_weights, refuse
from ldmkit.engine.system import assemble
from ldmkit.engine.versions import distributions
from ldmkit.host.registry import Registry
from ldmkit.recipe import load, resolve
from ldmkit.training import train_stage

SHORT = ["train.compression.steps=4", "train.diffusion.steps=4", "train.compression.adversary=null"]
STAGES = ("compression", "diffusion")


def train(runs, stages=STAGES):
    """Trains toy stages; what was said."""
    said = []
    for stage in stages:
        train_stage(toy(*SHORT), stage, Path(runs), say=said.append)
    return " ".join(said)


def weights(runs, stage) -> Path:
    (found,) = Path(runs).glob(f"toy/{stage}-*/{stage}.safetensors")
    return found


def reused(runs, accept=False):
    """What is said where the finished stages are used."""
    said = []
    give_weights(toy(*SHORT), Path(runs), without=refuse, say=said.append, accept=accept)
    return said


def record(runs, stage, **others):
    """Has the stage's run record other versions."""
    path = weights(runs, stage).parent / "versions.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **others}))


def test_a_finished_stage_that_other_versions_trained_is_used_and_told(tmp_path):
    train(tmp_path)
    assert not any("versions" in line for line in reused(tmp_path))
    record(tmp_path, "diffusion", toy="0.9", torch="1.0", python="2.7")
    (told,) = (line for line in reused(tmp_path) if "versions" in line)
    assert told.startswith(
        "diffusion: was trained by other versions than those that are installed: toy 0.9 (now 1);"
    )
    assert "torch" not in told  # it ran the training and does not say what it is
    assert "diffusion: was trained by other versions" in train(tmp_path, ["diffusion"])
    assert not any("versions" in line for line in reused(tmp_path, accept=True))


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"toy": {}}', '{"toy": "0.9\\u001b[2J\\nall is well"}'])
def test_versions_that_cannot_be_read_are_no_error_and_no_second_line(tmp_path, damage):
    train(tmp_path, ["compression"])
    (weights(tmp_path, "compression").parent / "versions.json").write_text(damage)
    said = []
    give_weights(toy(*SHORT), Path(tmp_path), without=refuse, say=said.append, stages=["compression"])
    assert not any("\n" in line or "\x1b" in line for line in said)
    assert any(line.startswith("compression: reused") for line in said)


def test_only_plugins_whose_components_determine_a_stage_are_its_makers():
    known = Registry()
    for entry in training_toy.registry():
        known.add(replace(entry, distribution=f"of-{entry.kind}"))
    recipe = resolve(load(RECIPE, SHORT, known), known)
    assert distributions(recipe, known, "compression") == ["ldmkit", "of-compression", "of-data", "of-loss"]
    assert distributions(recipe, known, "diffusion") == [
        "ldmkit", "of-conditioner", "of-denoiser", "of-objective", "of-schedule",
    ]  # fmt: skip
    assert set(distributions(assemble(recipe, known).recipe, known)) > {"of-sampler", "of-spacing"}


def test_a_training_that_goes_on_under_other_versions_tells_them(tmp_path):
    train(tmp_path, ["compression"])
    folder = weights(tmp_path, "compression").parent
    kept = json.loads((folder / "versions.json").read_text())
    for content, told in (
        ({**kept, "torch": "1.0", "gone": "2"}, f"than it began with: torch 1.0 (now {kept['torch']})"),
        (kept, None),
        ([], None),
    ):
        weights(tmp_path, "compression").unlink()  # as if it had been interrupted
        (folder / "versions.json").write_text(json.dumps(content))
        said = train(tmp_path, ["compression"])
        assert "going on after step 4" in said
        assert ("other versions" in said) == (told is not None)
        assert (told or "") in said
        assert json.loads((folder / "versions.json").read_text()) == kept
