"""Paths in a recipe start at the folder of the recipe that wrote them, also where another one extends it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from small_recipes import PIXELS

import ldmkit
from ldmkit.cli import main
from ldmkit.host.plugins import host
from ldmkit.recipe import Recipe, complete, digest, dump, load, resolve

BASE: dict[str, Any] = {
    **PIXELS,
    "name": "base",
    "data": {
        "name": "with-low-res",
        "of": {"name": "union", "parts": [{"name": "image-folder", "path": "pictures", "size": 8}]},
        "factor": 2,
    },
    "conditioners": {"low": {"name": "low-res", "factor": 2}},
    "weights": "first",
    "train": {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 2},
    "sample": {"fields": {"low_res": ["low.png"]}, "init": "start.png"},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """common/base.yaml with what it names, and mine/own.yaml that extends it."""
    common, mine = tmp_path / "common", tmp_path / "mine"
    (common / "pictures").mkdir(parents=True)
    mine.mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 30, 30)).save(common / f"pictures/{i}.png")
    for name, side in (("low", 4), ("start", 8)):
        Image.new("RGB", (side, side)).save(common / f"{name}.png")
    (common / "first").mkdir()
    tensors = {"compression.scale": torch.full((3,), 2.0), "compression.shift": torch.zeros(3)}
    save_file(tensors, common / "first/compression.safetensors")
    (common / "base.yaml").write_text(yaml.safe_dump(BASE))
    write(mine)
    monkeypatch.chdir(tmp_path)
    return mine


def write(folder: Path, base: str = "../common/base.yaml", **own: Any) -> Path:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({"recipe": 1, "name": "own", "extends": base, **own}))
    return path


def data_path(recipe: Recipe) -> Any:
    assert recipe.data is not None
    return recipe.data.parameters["of"]["parts"][0]["path"]


@pytest.mark.parametrize("absolute", [False, True])
def test_what_the_base_names_is_found_beside_it(place: Path, absolute: bool) -> None:
    base = place.parent / "common/base.yaml"
    own = write(place, str(base) if absolute else "../common/base.yaml")
    where = base.parent if absolute else Path("../common")
    recipe = complete(own)
    assert data_path(recipe) == str(where / "pictures")
    assert (recipe.weights, recipe.sample.init) == (str(where / "first"), str(where / "start.png"))
    assert recipe.sample.fields == {"low_res": (str(where / "low.png"),)}
    result = CliRunner().invoke(main, ["train", str(own)])
    assert result.exit_code == 0, result.output
    assert "11 pictures to train on" in result.output
    drawn = CliRunner().invoke(main, ["run", str(own), "--out", "out"])
    assert drawn.exit_code == 0, drawn.output
    assert ldmkit.build(own).compression.scale.tolist() == [2.0, 2.0, 2.0]


def test_what_the_extending_recipe_and_overrides_name_is_found_beside_that(place: Path) -> None:
    shutil.copytree(place.parent / "common/pictures", place / "others")
    own = write(place)
    recipe = complete(own, ["data.of.parts.0.path=others", "weights=second", "sample.init=mine.png"])
    assert data_path(recipe) == "others"
    assert (recipe.weights, recipe.sample.init) == ("second", "mine.png")
    assert recipe.sample.fields == {"low_res": ("../common/low.png",)}
    data = {"name": "image-folder", "path": "others", "size": 8}
    replaced = complete(write(place, data=data, weights="second"))
    assert replaced.data is not None
    assert (replaced.data.parameters["path"], replaced.weights) == ("others", "second")


def test_a_base_in_the_same_folder_keeps_its_paths(place: Path) -> None:
    common = place.parent / "common"
    for name in ("base.yaml", "./base.yaml", str(common / "base.yaml")):
        recipe = complete(write(common, name))
        assert data_path(recipe) == "pictures"
        assert digest(recipe, "diffusion") == digest(complete(common / "base.yaml"), "diffusion")


def test_a_recipe_that_is_read_twice_names_the_same(place: Path) -> None:
    once = complete(place / "own.yaml")
    assert data_path(complete(load(load(place / "own.yaml")))) == "../common/pictures"
    assert data_path(resolve(once, host().registry)) == "../common/pictures"
    (place / "kept.yaml").write_text(dump(once))
    assert digest(complete(place / "kept.yaml"), "samples") == digest(once, "samples")


def test_a_prompt_is_no_path(place: Path) -> None:
    values = {**BASE, "sample": {"prompts": ["a.png"], "fields": {"low_res": ["no file", 3]}}}
    (place.parent / "common/base.yaml").write_text(yaml.safe_dump(values))
    sample = load(place / "own.yaml").sample
    assert sample.prompts == ("a.png",)
    assert sample.fields == {"low_res": ("no file", 3)}
