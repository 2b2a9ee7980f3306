"""`ldmkit check --data` and trainings look at all data before any step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from small_recipes import PIXELS

from ldmkit.cli import main

RESCALER = {"segmentation": {"name": "spatial-rescaler", "classes": 3, "channels": 2, "stages": 0}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty pictures with class maps, and a recipe on pixels beside them."""
    monkeypatch.chdir(tmp_path)
    lines = []
    for i in range(20):
        for path in (tmp_path / f"d/{i}.png", tmp_path / f"d/maps/{i}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16), i % 3, np.uint8)).save(path)
        lines.append({"file_name": f"{i}.png", "segmentation": f"maps/{i}.png", "text": "a square"})
    (tmp_path / "d/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def check(conditioners: dict[str, Any], *options: str) -> Result:
    recipe = {
        **PIXELS,
        "name": "looked-at",
        "data": {"name": "image-folder", "path": "d", "size": 16},
        "conditioners": conditioners,
        "train": {"diffusion": {"steps": 1, "batch": 2, "lr": 1e-3, "flip": True}},
    }
    Path("a.yaml").write_text(yaml.safe_dump(recipe))
    return CliRunner().invoke(main, ["check", "a.yaml", *options])


def test_sound_data_are_counted(folder: Path) -> None:
    result = check(RESCALER, "--data")
    assert result.exit_code == 0, result.output
    assert "# data: 19 pictures to train on, 1 held out; fields: segmentation, text" in result.output


def test_a_class_out_of_range_in_one_map_names_its_picture(folder: Path) -> None:
    Image.fromarray(np.full((16, 16), 3, np.uint8)).save(folder / "d/maps/13.png")
    assert check(RESCALER).exit_code == 0
    result = check(RESCALER, "--data")
    assert result.exit_code == 2
    assert "13.png: condition 'segmentation': segmentation: expects maps of class ids 0 to 2" in result.output


def test_a_field_that_is_not_there_is_answered_with_those_that_are(folder: Path) -> None:
    result = check({"caption": {"name": "text-transformer", "width": 32, "layers": 1}}, "--data")
    assert result.exit_code == 2
    assert "it has image, segmentation, text: choose one with conditioners.caption.field" in result.output


def test_a_training_refuses_such_data_before_its_first_step(folder: Path) -> None:
    Image.fromarray(np.full((16, 16), 3, np.uint8)).save(folder / "d/maps/13.png")
    check(RESCALER)
    result = CliRunner().invoke(main, ["train", "a.yaml"])
    assert result.exit_code == 2
    assert "expects maps of class ids 0 to 2" in result.output
    assert not list(folder.rglob("step-*"))


def test_of_very_many_fields_the_first_are_named(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "d/metadata.jsonl").read_text().splitlines()]
    fields = {f"tag {i}": i for i in range(1000)}
    (folder / "d/metadata.jsonl").write_text("\n".join(json.dumps({**line, **fields}) for line in lines))
    (said,) = [x for x in check(RESCALER, "--data").output.splitlines() if x.startswith("# data: 19")]
    assert said.endswith("tag 16, tag 17 and 982 more")


def test_captions_that_are_missing_count_where_the_recipe_reads_them(folder: Path) -> None:
    (folder / "d/metadata.jsonl").unlink()
    shutil.rmtree(folder / "d/maps")
    for i in range(12):
        (folder / f"d/{i}.txt").write_text("a square")
    every = check({}, "--data")
    assert every.exit_code == 0, every.output
    assert "# data: no caption, which 8 pictures lack: " in every.output
    assert "# data: 19 pictures to train on, 1 held out; fields: none" in every.output
    read = check({"caption": {"name": "text-transformer", "width": 32, "layers": 1}}, "--data")
    assert read.exit_code == 2
    assert "8 of 20 pictures in" in read.output
    assert "its caption 12.txt is missing" in read.output


FOLDER = "{name: image-folder, path: d, size: 16}"


@pytest.mark.parametrize(
    "data", [FOLDER, f"{{name: with-masks, of: {FOLDER}}}", f"{{name: union, parts: [{FOLDER}]}}"]
)
def test_names_of_classes_in_another_order_than_the_data_have_them_are_refused(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog", "eel"):
        for i in range(4):
            path = tmp_path / "d" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (i, 0, 0)).save(path)
    options = ("--data", "-s", "train.diffusion.flip=false", "-s", f"data={data}")
    for names, said in (
        (["cat", "dog", "eel"], "fields: label, class_name"),
        (["Katze", "Hund", "eel"], "fields: label, class_name"),
        (["dog", "cat", "eel"], "label 0 is called 'dog', in the data 'dog' is 1"),
        (["cat", "eel"], "label 1 is called 'eel', in the data 'eel' is 2: give conditioners.label.names in"),
    ):
        result = check({"label": {"name": "class-embedding", "width": 16, "names": names}}, *options)
        assert said in result.output
        assert result.exit_code == (2 if "called" in said else 0), result.output
