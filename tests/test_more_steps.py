"""A finished training whose recipe asks for more steps goes on, to what it would have been."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from training_toy import toy, train

from ldmkit.checkpoint import files
from ldmkit.errors import Note, UserError
from ldmkit.training.run import train_stage

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


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """What a training of six steps without interruption leaves, and the folder of one of four."""
    made = tmp_path_factory.mktemp("parts")
    _, whole = trained(made / "whole", *PLAIN, STEPS(6))
    trained(made / "parts", *PLAIN, STEPS(4))
    return whole, made / "parts"


def longer(parts, runs, harm):
    """What is said, and whether six steps end where they would have, after `harm` to the training of four."""
    whole, four = parts
    shutil.copytree(four, runs, symlinks=True)
    (folder,) = (kept.parent for kept in runs.glob("toy/*/recipe.yaml"))
    harm(folder)
    said, weights = trained(runs, *PLAIN, STEPS(6))
    assert all(files.damage(step) is None for step in runs.glob("toy/*/step-0*") if step.parent != folder)
    return said, weights == whole


@pytest.mark.parametrize("harm", [("manifest.json", "{}"), ("model.safetensors", "x"), ("state.json", "")])
def test_a_damaged_last_step_is_passed_over_for_the_whole_one_before(parts, tmp_path, harm):
    name, text = harm
    said, same = longer(parts, tmp_path / "runs", lambda f: (f / "step-00000004" / name).write_text(text))
    assert re.search(r"step-00000004 is damaged \(.*takes over step 2 of .*going on after step 2", said)
    assert "anew" not in said
    assert same


def test_a_copy_of_another_step_in_the_last_ones_place_is_passed_over(parts, tmp_path):
    def swap(folder):
        shutil.rmtree(folder / "step-00000004")
        shutil.copytree(folder / "step-00000002", folder / "step-00000004")

    said, same = longer(parts, tmp_path / "runs", swap)
    assert "step-00000004 is damaged (it is a copy of step 2)" in said
    assert "takes over step 2" in said
    assert same


@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize(
    "stray",
    [
        lambda folder: shutil.copytree(folder / "step-00000004", folder / "step-99999999"),
        lambda folder: (folder / "step-00000006").symlink_to("step-00000004"),
        lambda folder: (folder / "step-00000006").symlink_to("nowhere"),
    ],
)
def test_what_only_looks_like_a_later_step_is_left_aside(parts, tmp_path, stray, latest):
    def harm(folder):
        stray(folder)
        if not latest:
            (folder / "latest").unlink()

    said, same = longer(parts, tmp_path / "runs", harm)
    assert re.search(r"step-(99999999|00000006) is left aside: .*takes over step 4 of", said)
    assert same
    assert [
        f for f in (tmp_path / "runs").glob("toy/*/step-*") if f.name in ("step-99999999", "step-00000006")
    ]


def test_where_no_step_is_whole_it_stops_until_told_to_begin_anew(parts, tmp_path):
    def harm(folder):
        for step in folder.glob("step-*"):
            (step / "manifest.json").write_text("{}")

    with pytest.raises(UserError, match=r"every step .* is damaged: .*--restart"):
        longer(parts, tmp_path / "runs", harm)
    assert len(list((tmp_path / "runs").glob("toy/compression-*/recipe.yaml"))) == 1
    said = []
    train_stage(toy(*PLAIN, STEPS(6)), "compression", tmp_path / "runs", restart=True, say=said.append)
    assert "takes over" not in " ".join(said)
    newest = tmp_path / "runs" / "toy" / folders(tmp_path / "runs")[-1]
    weights = load_file(newest / "compression.safetensors")
    assert {name: x.tobytes() for name, x in weights.items()} == parts[0]
