"""Relative paths in a recipe start at its folder; in one from Python, at the working directory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from small_recipes import PIXELS

import ldmkit
from ldmkit.cli import main
from ldmkit.engine.components import build
from ldmkit.engine.weights import stage_folder
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import dump, load, resolve

RECIPE = {
    **PIXELS,
    "name": "placed",
    "data": {"name": "image-folder", "path": "pictures", "size": 8},
    "weights": "first",
    "train": {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 2},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe, its pictures and its weights; the working directory is another one."""
    place = tmp_path / "project"
    (place / "pictures").mkdir(parents=True)
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 30, 30)).save(place / "pictures" / f"{i}.png")
    (place / "first").mkdir()
    tensors = {"compression.scale": torch.full((3,), 2.0), "compression.shift": torch.zeros(3)}
    save_file(tensors, place / "first/compression.safetensors")
    (place / "placed.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return place


@pytest.mark.filterwarnings("ignore:recipe 'placed'")
def test_data_and_weights_are_found_from_the_recipe_and_not_from_the_working_directory(place: Path) -> None:
    result = CliRunner().invoke(main, ["run", str(place / "placed.yaml"), "--out", "out"])
    assert result.exit_code == 0, result.output
    assert Path("out/grid.png").exists()
    system = ldmkit.build(place / "placed.yaml")
    assert system.compression.scale.tolist() == [2.0, 2.0, 2.0]


def test_an_override_on_the_command_line_starts_at_the_recipe_too(place: Path) -> None:
    shutil.move(place / "pictures", place / "others")
    recipe = str(place / "placed.yaml")
    result = CliRunner().invoke(main, ["train", recipe, "-s", "data.path=others"])
    assert result.exit_code == 0, result.output


@pytest.mark.filterwarnings("ignore:recipe 'placed'")
def test_a_recipe_from_python_starts_at_the_working_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="weights: no folder first"):
        ldmkit.build(RECIPE)
    monkeypatch.chdir(place)
    assert ldmkit.build(RECIPE).compression.scale.tolist() == [2.0, 2.0, 2.0]


def test_paths_are_written_and_compared_as_they_stand_in_the_recipe(place: Path, tmp_path: Path) -> None:
    registry = host().registry
    recipe = resolve(load(place / "placed.yaml"), registry)
    assert "path: pictures" in dump(recipe)
    shutil.move(place, tmp_path / "moved")
    moved = resolve(load(tmp_path / "moved/placed.yaml"), registry)
    before, after = (stage_folder(r, registry, "diffusion", Path("runs")) for r in (recipe, moved))
    assert before == after


def test_nested_components_and_pictures_of_conditions_start_at_the_recipe(place: Path) -> None:
    weights = {"name": "lpips", "trunk": "weights/vgg.pth"}
    values = {**RECIPE, "train": {"compression": {"steps": 1, "batch": 1, "lr": 1e-3, "loss": [weights]}}}
    (place / "nested.yaml").write_text(yaml.safe_dump(values))
    recipe = resolve(load(place / "nested.yaml"), host().registry)
    assert recipe.train.compression is not None
    with pytest.raises(UserError, match=f"{place}/weights/vgg.pth"):
        build(host().registry, "loss", recipe.train.compression.loss[0])


def test_home_and_absolute_paths_stay_what_they_are(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    registry = host().registry
    for path in ("~/pictures", str(place / "pictures")):
        recipe = resolve(load(place / "placed.yaml", [f"data.path={path}"]), registry)
        data = build(registry, "data", recipe.data)
        assert np.asarray(data[0]["image"]).shape == (3, 8, 8)
        assert recipe.data.parameters["path"] == path
