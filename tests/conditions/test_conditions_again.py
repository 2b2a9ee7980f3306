"""A picture is made again from what its file says of its inputs, or it is told what has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conditioned import call, drawn, pixels
from PIL import Image

import ldmkit
from ldmkit.errors import UserError
from ldmkit.pictures.png import read_about
from ldmkit.verbs import records


def test_classes_are_named_and_every_picture_can_be_made_again() -> None:
    paths = drawn(
        "run", "classes.yaml", "--input", "label=blue", "--input", "label=0", "--count", "2", out="c"
    )
    assert [p.name for p in paths] == ["000-blue-0.png", "001-blue-1.png", "002-0-2.png", "003-0-3.png"]
    assert read_about(paths[0])["inputs"] == '{"label": "blue"}'
    again = drawn("sample", "classes.yaml", "--again", str(paths[3]), out="c-again")
    assert np.abs(pixels(again[0]) - pixels(paths[3])).max() <= 1


def test_options_that_changed_the_recipe_are_known_to_again() -> None:
    options = ["--steps", "3", "--guidance", "3.5", "--size", "16x24"]
    (made,) = drawn("run", "classes.yaml", "--input", "label=red", *options, out="options")
    assert pixels(made).shape == (16, 24, 3)
    (again,) = drawn("sample", "classes.yaml", "--again", str(made), out="options-again")
    assert np.abs(pixels(again) - pixels(made)).max() <= 1


def test_another_size_is_told_as_a_person_gives_it() -> None:
    (made,) = drawn("run", "classes.yaml", "--input", "label=red", "--size", "16x24", out="sized")
    other = call("sample", "classes.yaml", "--again", str(made), "--size", "32x16", "--out", "sized-again")
    assert other.exit_code == 2
    assert ": size was 16x24, is 32x16; it was made with" in other.output


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"inputs": '{"label": "green"}'}, "condition 'label': label: no class 'green'"),
        ({"inputs": '{"label": [0, 1]}'}, "condition 'label': label: expects class ids"),
        ({"inputs": '{"labels": 1}'}, "does not read the condition field(s) labels"),
        ({"inputs": '{"label": {"file": 3}}'}, "the picture's label cannot be read: its file is 3, no path"),
        ({"init": "3", "strength": "0.5"}, "init: "),
        ({"init": '"metadata"', "strength": "0.5"}, "metadata: no such file"),
    ],
)
def test_what_a_picture_says_of_its_inputs_is_read_before_any_work(about: dict[str, str], said: str) -> None:
    from ldmkit.pictures.png import save_picture

    (made,) = drawn("run", "classes.yaml", "--input", "label=red", out="odd")
    save_picture(Image.open(made), Path("odd.png"), {**read_about(made), **about})
    result = call("sample", "classes.yaml", "--again", "odd.png", "--out", "odd-again")
    assert result.exit_code == 2
    assert said in result.output.splitlines()[-1]
    assert "to make" not in result.output
    assert not Path("odd-again").exists()


def test_a_file_that_changed_or_is_gone_is_named_and_may_have_moved() -> None:
    Image.open("map-1.png").save("mine.png")
    fields = ["--input", "segmentation=mine.png", "--input", "label=red"]
    (made,) = drawn("run", "both.yaml", *fields, out="files")
    Path("mine.png").rename("moved.png")
    gone = call("sample", "both.yaml", "--again", str(made), "--out", "files-again")
    assert (gone.exit_code, gone.output.splitlines()[-1]) == (
        2,
        "error: segmentation: mine.png is gone; say where it is with --input segmentation=PATH",
    )
    moved = ["--input", "segmentation=moved.png"]
    (again,) = drawn("sample", "both.yaml", "--again", str(made), *moved, out="files-again")
    assert np.abs(pixels(again) - pixels(made)).max() <= 1
    Image.open("map-2.png").save("mine.png")
    changed = call("sample", "both.yaml", "--again", str(made), "--out", "files-again")
    assert changed.exit_code == 2
    assert "segmentation: mine.png has changed since" in changed.output


def test_other_weights_do_not_make_a_picture_again() -> None:
    (made,) = drawn("run", "plain.yaml", "--seed", "8", out="old")
    call("run", "plain.yaml", "--retrain", "-s", "train.diffusion.lr=0.9")
    about = read_about(made)
    from ldmkit.pictures.png import save_picture

    save_picture(Image.open(made), Path("other.png"), {**about, "weights": "0" * 64})
    result = call("sample", "plain.yaml", "--again", "other.png", "--out", "old-again")
    assert result.exit_code == 2
    assert "was made with weights 000000000000" in result.output


def test_inputs_beside_again_are_refused() -> None:
    (made,) = drawn("run", "plain.yaml", out="beside")
    result = call("sample", "plain.yaml", "--again", str(made), "--seed", "3")
    assert result.exit_code == 2
    assert "leave out seed" in result.output


def test_an_input_whose_digest_the_file_lacks_counts_as_changed() -> None:
    call("run", "classes.yaml")
    system = ldmkit.build("classes.yaml")
    about = {"seed": "1", "inputs": '{"label": {"file": "mask.png"}}'}
    with pytest.raises(UserError, match=r"label: mask\.png has changed since the picture was made"):
        records.read(system, about, Path("one.png"), {})


def test_settings_that_do_not_fit_are_told_before_weights_are_looked_for(tmp_path: Path) -> None:
    (made,) = drawn("run", "classes.yaml", "--input", "label=red", "--steps", "3", out="early")
    empty = ["--runs", str(tmp_path / "none"), "--out", "early-again"]
    other = call("sample", "classes.yaml", "--again", str(made), "--steps", "2", *empty)
    assert other.exit_code == 2
    assert "sampler.steps was 3, is 2" in other.output
    same = call("sample", "classes.yaml", "--again", str(made), *empty)
    assert "has no weights for its diffusion stage" in same.output
