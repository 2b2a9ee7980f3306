"""A package holds no data: it says so, draws without them, and trains on no other pictures in their place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from small_recipes import PIXELS

from ldmkit.cli import main

TRAIN = {"diffusion": {"steps": 1, "batch": 2, "lr": 1e-3}}
MORE = "train.diffusion={steps: 2, batch: 2, lr: 1.0e-3}"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def packed(place: Path, data: dict[str, Any], **sections: Any) -> tuple[Path, str]:
    """A package that has been moved away from its data, and what was said when it was written."""
    for i in range(6):
        (place / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (40 * i, 30, 30)).save(place / f"pictures/{i}.png")
    recipe = {**PIXELS, "name": "toy", "data": data, "train": TRAIN, **sections}
    (place / "toy.yaml").write_text(yaml.safe_dump(recipe))
    assert call("train", str(place / "toy.yaml"), "--runs", str(place / "runs")).exit_code == 0
    written = place / "model"
    done = call("package", str(place / "toy.yaml"), "-o", str(written), "--runs", str(place / "runs"))
    assert done.exit_code == 0, done.output
    moved = place / "elsewhere/model"
    moved.parent.mkdir()
    shutil.move(written, moved)
    return moved, done.output


@pytest.fixture(autouse=True)
def in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_training_takes_no_pictures_of_the_package_for_the_data(tmp_path: Path) -> None:
    sample = {"count": 2, "size": [16, 16]}
    data = {"name": "image-folder", "path": "pictures", "size": 16}
    model, said = packed(tmp_path, data, sample=sample, sampler={"name": "ddim", "steps": 2})
    assert "data.path: pictures is not in the package" in said
    assert "a training from it must set `data.path`." in (model / "README.md").read_text().replace("\n", " ")
    assert len(list((model / "pictures").glob("0*.png"))) == 2
    assert call("sample", str(model), "--out", "drawn").exit_code == 0
    for recipe, options in ((model, ("-s", MORE)), (model / "training.yaml", ())):
        refused = call("train", str(recipe), *options, "--runs", "again")
        assert refused.exit_code == 2
        (line,) = (one for one in refused.output.splitlines() if one.startswith("error: "))
        assert line.endswith("the package does not hold the data: set path to where they are")
    there = f"data.path={tmp_path / 'pictures'}"
    trained = call("train", str(model), "-s", MORE, "-s", there, "--runs", "again")
    assert trained.exit_code == 0, trained.output
    assert "5 pictures to train on" in trained.output


def test_conditions_that_came_from_the_data_are_asked_for(tmp_path: Path) -> None:
    folder = {"name": "image-folder", "path": "pictures", "size": 16}
    data = {"name": "with-low-res", "of": {"name": "union", "parts": [folder]}, "factor": 2}
    low = {"low": {"name": "low-res", "factor": 2}}
    model, said = packed(tmp_path, data, conditioners=low, sampler={"name": "ddim", "steps": 2})
    assert "data.of.parts.0.path: pictures is not in the package" in said
    refused = call("sample", str(model), "--out", "drawn")
    assert refused.exit_code == 2
    assert "--input low_res=..." in refused.output
    assert "the package does not hold the data" in refused.output
    Image.new("RGB", (8, 8)).save("small.png")
    drawn = call("sample", str(model), "--out", "drawn", "--input", "low_res=small.png")
    assert drawn.exit_code == 0, drawn.output


def test_data_at_an_absolute_path_stay_there(tmp_path: Path) -> None:
    where = str(tmp_path / "pictures")
    model, said = packed(tmp_path, {"name": "image-folder", "path": where, "size": 16})
    assert f"data.path: {where} is not in the package" in said
    assert call("check", str(model), "--data").exit_code == 0
