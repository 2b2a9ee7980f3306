"""The verbs that look and change nothing: doctor, diff, check --explain, run --dry-run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ldmkit.cli import main

ROOT = Path(__file__).parents[1]
TEXT2IMG = str(ROOT / "recipes/text2img.yaml")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_doctor_tells_versions_devices_and_room(tmp_path: Path) -> None:
    result = call("doctor", "--json", "--runs", str(tmp_path / "runs"))
    assert result.exit_code == 0, result.output
    facts = {one["what"]: one for one in json.loads(result.stdout)}
    assert facts["torch"]["found"].startswith("2.")
    assert "ldmkit-unet" in facts["plugins"]["found"]
    assert {"cpu", "accelerator", "memory free", "runs folder", "cache folder"} <= facts.keys()
    assert float(facts["matrix products"]["found"].split()[0]) > 0


def test_the_doctor_marks_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.access
    monkeypatch.setattr("os.access", lambda place, mode: place != tmp_path and before(place, mode))
    output = call("doctor", "--runs", str(tmp_path)).output
    assert f"! runs folder: {tmp_path} cannot be written; choose another one" in output


def test_a_recipe_does_not_differ_from_itself_with_its_defaults_written_out(tmp_path: Path) -> None:
    written = tmp_path / "written.yaml"
    written.write_text(
        "\n".join(line for line in call("check", TEXT2IMG).output.splitlines() if line[:1] != "#")
    )
    result = call("diff", TEXT2IMG, str(written))
    assert (result.exit_code, result.output) == (0, "")


def test_what_differs_is_told_by_path_with_both_values(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    text = Path(TEXT2IMG).read_text()
    other.write_text(text.replace("seed: 0", "seed: 7"))
    assert "seed: 0" in text
    result = call("diff", TEXT2IMG, str(other))
    assert (result.exit_code, result.output) == (1, "sample.seed: 0 -> 7\n")
    assert json.loads(call("diff", "--json", TEXT2IMG, str(other)).output) == {"sample.seed": [0, 7]}


def test_a_folder_without_a_recipe_is_one_line(tmp_path: Path) -> None:
    result = call("diff", TEXT2IMG, str(tmp_path))
    assert result.exit_code == 2
    assert "holds no recipe.yaml" in result.output


def test_values_are_explained_with_their_place_and_meaning() -> None:
    lines = call("check", TEXT2IMG, "--explain", "-s", "sampler.steps=7").output.splitlines()
    told = dict(line.split(": ", 1) for line in lines if not line.startswith("#"))
    assert told["sampler.steps"].startswith("7  # ")
    assert "text2img.yaml" not in told["sampler.steps"]  # it was given on the command line
    assert "text2img.yaml:" in told["denoiser.width"]
    assert "channels of the first level" in told["denoiser.width"]
    assert told["denoiser.depth"].startswith("1  # default; transformer blocks")


def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    result = call("run", str(ROOT / "recipes/text2img.yaml"), "--dry-run", "--runs", str(runs))
    assert result.exit_code == 0, result.output
    assert "compression: would be reused" in result.output
    assert "diffusion: would be reused" in result.output
    small = [
        "-s",
        "train.diffusion.batch=2",
        "-s",
        "train.diffusion.lr=1e-5",
        "-s",
        "train.compression.batch=2",
    ]
    both = str(ROOT / "recipes/from-nothing/text2img-64.yaml")
    result = call("run", both, "--dry-run", "--runs", str(runs), *small)
    assert f"diffusion: would be trained in {runs}/text2img-64/diffusion-" in result.output
    assert "9000 steps, about " in result.output
    assert "train.diffusion on disk: " in result.output
    assert not runs.exists()
    checked = [line[4:] for line in call("check", both, *small).output.splitlines() if "#   train." in line]
    assert "activations of 2 pictures" in " ".join(checked)
    assert [line for line in result.output.splitlines() if line.startswith("train.")] == checked


def test_a_dry_run_tells_of_adapters_and_leaves_their_model_alone(tmp_path: Path) -> None:
    adapter = "adapters={own: {name: lora, train: {steps: 5, batch: 2, lr: 1e-3}}}"
    result = call("run", TEXT2IMG, "--dry-run", "--retrain", "--runs", str(tmp_path / "runs"), "-s", adapter)
    assert result.exit_code == 0, result.output
    assert "diffusion: would be reused" in result.output
    assert "adapter own: would be trained in" in result.output
    assert "5 steps, at most about " in result.output
