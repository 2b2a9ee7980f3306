"""From a recipe to a system with weights: found, trained, refused; on the device that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file
from small_recipes import PIXELS

import ldmkit
from ldmkit.cli import main
from ldmkit.engine.opening import choose_device
from ldmkit.errors import UserError

RECIPE = {
    **PIXELS,
    "name": "pixels",
    "data": {"name": "image-folder", "path": "pictures", "size": 8},
    "train": {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 2},
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pictures and a recipe of diffusion on their pixels."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 30, 30)).save(tmp_path / "pictures" / f"{i}.png")
    write()
    return tmp_path


def write(**changes: object) -> None:
    recipe = {**RECIPE, **changes}
    Path("pixels.yaml").write_text(yaml.safe_dump({k: v for k, v in recipe.items() if v is not None}))


def first_stage(folder: str) -> None:
    """Weights of the identity, whose latents are the pixels times two."""
    Path(folder).mkdir()
    tensors = {"compression.scale": torch.full((3,), 2.0), "compression.shift": torch.zeros(3)}
    save_file(tensors, f"{folder}/compression.safetensors")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_first_stage_without_weights_is_neither_trained_nor_looked_for() -> None:
    result = call("run", "pixels.yaml", "--out", "out")
    assert result.exit_code == 0, result.output
    assert Path("out/grid.png").exists()
    assert "compression" not in result.output
    again = call("sample", "pixels.yaml", "--out", "again")
    assert again.exit_code == 0, again.output


def test_retrain_trains_again_what_the_recipe_trains_and_nothing_else() -> None:
    first_stage("first")
    write(weights="first")
    call("run", "pixels.yaml")
    (weights,) = Path("runs/pixels").glob("diffusion-*/diffusion.safetensors")
    made = weights.stat().st_mtime_ns
    result = call("run", "pixels.yaml", "--retrain")
    assert result.exit_code == 0, result.output
    assert "compression: reused first/compression.safetensors" in result.output
    assert weights.stat().st_mtime_ns > made


@pytest.mark.parametrize("verb", ["run", "train"])
def test_weights_that_are_not_there_are_refused_where_the_recipe_trains_too(verb: str) -> None:
    write(weights="nowhere")
    result = call(verb, "pixels.yaml")
    assert result.exit_code == 2
    assert "weights: no folder nowhere" in result.output
    Path("nowhere").mkdir()
    result = call(verb, "pixels.yaml")
    assert result.exit_code == 2
    assert "weights: no compression.safetensors or diffusion.safetensors in nowhere" in result.output
    assert not list(Path("runs").rglob("*.safetensors"))


def test_a_training_tells_which_weights_it_starts_from() -> None:
    call("run", "pixels.yaml")
    (finished,) = Path("runs/pixels").glob("diffusion-*/")
    write(name="tuned", weights=str(finished))
    result = call("run", "pixels.yaml")
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if "starts from" in line]
    assert told == [f"diffusion: starts from {finished}/diffusion.safetensors"]


def test_build_takes_the_weights_of_the_recipe_until_they_are_trained_further() -> None:
    call("run", "pixels.yaml")
    (finished,) = Path("runs/pixels").glob("diffusion-*/")
    expected = load_file(finished / "diffusion.safetensors")
    system = ldmkit.build({**RECIPE, "name": "tuned", "weights": str(finished.resolve())})
    for name, tensor in system.get_submodule("denoiser").state_dict().items():
        assert torch.equal(tensor, expected[f"denoiser.{name}"])


def test_a_stage_that_weights_lack_is_named_with_the_way_out() -> None:
    first_stage("first")
    write(weights="first", train=None)
    result = call("sample", "pixels.yaml")
    assert result.exit_code == 2
    assert (
        "no weights for its diffusion stage (there is no diffusion.safetensors in `weights`)" in result.output
    )
    assert "add train.diffusion" in result.output


def test_build_warns_of_a_stage_without_weights() -> None:
    with pytest.warns(UserWarning, match="no weights for its diffusion stage"):
        ldmkit.build("pixels.yaml")


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    for name in ("xpu:7", "toaster", "meta", torch.device("meta"), torch.device("xpu", 7)):
        with pytest.raises(UserError, match=rf"no device '{name}'.*cpu"):
            choose_device(name)
    result = call("sample", "pixels.yaml", "--device", "toaster")
    assert result.exit_code == 2
    assert "no device 'toaster'" in result.output


def test_the_accelerator_is_chosen_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available: torch.device("cuda"))
    assert choose_device(None) == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(None) == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available: None)
    assert choose_device(None) == torch.device("cpu")


def test_weights_that_a_wrapped_model_saved_are_read_and_told_in_a_note() -> None:
    call("train", "pixels.yaml")
    (trained,) = Path("runs/pixels").glob("diffusion-*/diffusion.safetensors")
    Path("wrapped").mkdir()
    tensors = {f"module.{name}": tensor for name, tensor in load_file(trained).items()}
    save_file(tensors, "wrapped/diffusion.safetensors")
    write(weights="wrapped", train=None)
    result = call("sample", "pixels.yaml", "--out", "out")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if "wrapper" in line]
    told = "note: wrapped/diffusion.safetensors: module of a wrapper is left off the tensors' names"
    assert lines == [told]
