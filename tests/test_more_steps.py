"""A finished training whose recipe asks for more steps goes on, to what it would have been."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from training_toy import train

from ldmkit.checkpoint import files
from ldmkit.errors import Note

PLAIN = ["train.compression.decay=constant", "train.compression.warmup=2"]
STEPS = "train.compression.steps={}".format


def trained(runs, *overrides):
    """What is said, and the weights of the one stage that it trains, as bytes by name."""
    said = []
    train(runs, *overrides, stages=["compression"], say=said.append)
    (newest,) = [
        f for f in Path(runs).glob("toy/*/compression.safetensors") if f.parent.name in {*folders(runs)[-1:]}
    ]
    return " ".join(said), {name: x.tobytes() for name, x in load_file(newest).items()}


def folders(runs):
    """The runs' folders by the time of their weights."""
    made = sorted(Path(runs).glob("toy/*/compression.safetensors"), key=lambda f: f.stat().st_mtime_ns)
    return [f.parent.name for f in made]


def test_more_steps_go_on_bit_for_bit(tmp_path):
    _, whole = trained(tmp_path / "whole", *PLAIN, STEPS(9))
    trained(tmp_path / "parts", *PLAIN, STEPS(4))
    trained(tmp_path / "parts", *PLAIN, STEPS(6))
    said, longer = trained(tmp_path / "parts", *PLAIN, STEPS(9))
    assert "takes over step 6" in said
    assert "going on after step 6" in said
    assert longer == whole
    assert len(folders(tmp_path / "parts")) == 3  # the shorter ones stay as they are


def test_another_recipe_is_not_gone_on_from(tmp_path):
    trained(tmp_path, *PLAIN, STEPS(4))
    said, _ = trained(tmp_path, *PLAIN, STEPS(6), "train.compression.seed=1")
    assert "step" not in said.replace("steps", "")


def test_a_training_that_begins_anew_says_what_differs_from_the_nearest_other_one(tmp_path):
    with warnings.catch_warnings(record=True) as first:
        trained(tmp_path, *PLAIN, STEPS(4))
    (there,) = (path.parent for path in tmp_path.glob("toy/*/recipe.yaml"))
    trained(tmp_path, *PLAIN, STEPS(3), "train.compression.lr=0.5", "train.compression.seed=9")
    with pytest.warns(Note) as notes:
        trained(tmp_path, *PLAIN, STEPS(4), "train.compression.batch=2", "train.compression.validate_every=3")
    assert not [one for one in first if "anew" in str(one.message)]
    assert [str(one.message) for one in notes] == [
        f"compression: begins anew: {there} (finished) has train.compression.batch=4 (here 2)"
    ]


def test_a_second_stage_on_another_first_one_says_so(tmp_path):
    train(tmp_path, say=lambda line: None)
    with pytest.warns(Note) as notes:
        train(tmp_path, "compression.dropout=0.2", "train.diffusion.seed=4", say=lambda line: None)
    said = [str(one.message) for one in notes]
    assert [line.split(":")[0] for line in said] == ["compression", "diffusion"]
    assert said[0].endswith("has compression.dropout=0.1 (here 0.2)")
    assert said[1].endswith("has compression.dropout=0.1 (here 0.2), train.diffusion.seed=0 (here 4)")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Note)
        train(tmp_path, "compression.dropout=0.2", "train.diffusion.seed=4", say=lambda line: None)


def test_a_rate_that_decays_begins_anew_and_says_what_would_go_on(tmp_path):
    trained(tmp_path, STEPS(4))
    said, _ = trained(tmp_path, STEPS(6))
    assert "begins anew, since its learning rate decays over all 6 steps" in said
    assert "train.compression.decay=constant" in said
    assert "going on" not in said


@pytest.mark.parametrize("harm", ["manifest.json", "model.safetensors"])
def test_a_damaged_step_is_not_taken_over(tmp_path, harm):
    trained(tmp_path, *PLAIN, STEPS(4))
    (step,) = tmp_path.glob("toy/*/step-00000004")
    (step / harm).write_bytes(b"x")
    said, _ = trained(tmp_path, *PLAIN, STEPS(6))
    assert "takes over" not in said
    assert all(files.damage(f) is None for f in tmp_path.glob("toy/*/step-0*") if f != step)
