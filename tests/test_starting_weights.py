"""What a training starts from: what is shipped for a recipe, a folder of trainings, a folder of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file
from small_recipes import LATENTS
from torch import Tensor

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import Note
from ldmkit.recipe import Shipped, complete

ROOT = Path(__file__).parents[1]
RECIPE: dict[str, Any] = {
    **LATENTS,
    "name": "first",
    "data": {"name": "image-folder", "path": "pictures", "size": 16},
    "train": {
        "compression": {"steps": 2, "batch": 4, "lr": 1e-3, "loss": ["pixel"]},
        "diffusion": {"steps": 2, "batch": 4, "lr": 1e-3},
    },
    "sampler": {"name": "ddim", "steps": 2},
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pictures and a recipe that trains in seconds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i, 30, 30)).save(tmp_path / "pictures" / f"{i}.png")
    write("first")
    return tmp_path


def write(name: str, **changes: Any) -> None:
    Path(f"{name}.yaml").write_text(yaml.safe_dump({**RECIPE, "name": name, **changes}))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def trained(name: str) -> dict[str, Tensor]:
    """The finished second stage of a recipe's one run."""
    (file,) = Path("runs", name).glob("diffusion-*/diffusion.safetensors")
    return load_file(file)


def furthest(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    return max(float((before[key] - after[key]).abs().max()) for key in before)


def test_a_finished_run_is_what_another_recipe_starts_from() -> None:
    assert call("run", "first.yaml").exit_code == 0
    write("second", weights="runs/first", train={"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9}})
    result = call("run", "second.yaml")
    assert result.exit_code == 0, result.output
    assert furthest(trained("first"), trained("second")) < 1e-6
    assert "compression: reused runs/first/compression-" in result.output


def test_a_finished_run_on_a_shipped_first_stage_brings_that() -> None:
    """Of `own/unconditional` a run holds the second stage alone."""
    small = ("-s", "train.diffusion.steps=1", "-s", "train.diffusion.batch=2", "--steps", "1", "--count", "1")
    recipe = ("run", "own/unconditional", "-s", f"data.path={Path('pictures').resolve()}", *small)
    assert call(*recipe, "--runs", "runs").exit_code == 0
    further = call(*recipe, "-s", "name=further", "--from", str(Path("runs/own-unconditional").resolve()))
    assert further.exit_code == 0, further.output
    assert "diffusion: starts from " in further.output
    assert "first-stage/compression.safetensors" in further.output


def test_weights_that_a_training_starts_from_are_not_called_missing() -> None:
    call("run", "first.yaml")
    write("second", weights="runs/first")
    result = call("sample", "second.yaml")
    assert result.exit_code == 2
    assert "`weights` is what train.compression starts from" in result.stderr
    assert "there is no" not in result.stderr


def test_from_on_the_command_line_is_the_same() -> None:
    call("run", "first.yaml")
    write("second", train={"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9}})
    result = call("run", "second.yaml", "--from", "runs/first")
    assert result.exit_code == 0, result.output
    assert "compression: reused" in result.output


def test_what_is_shipped_for_a_recipe_is_found_by_its_name() -> None:
    values = yaml.safe_load((ROOT / "recipes/autoencoder-vq.yaml").read_text())
    own = {key: values[key] for key in ("recipe", "compression")}
    system = ldmkit.build({**own, "name": "mine", "weights": {"recipe": "autoencoder-vq"}})
    folder = ROOT / "plugins/ldmkit-zoo/src/ldmkit_zoo/weights/autoencoder-vq"
    shipped = load_file(folder / "compression.safetensors")
    loaded = system.compression.state_dict()
    assert all((loaded[k.removeprefix("compression.")] == v.float()).all() for k, v in shipped.items())


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (
            "autoencoder-vk",
            "no plugin ships weights of recipe 'autoencoder-vk'; did you mean 'autoencoder-vq'?",
        ),
        ("./gone", "weights: no folder"),
        ("pictures", "weights: no compression.safetensors or diffusion.safetensors in"),
    ],
)
def test_weights_that_are_not_there_are_one_line(start: str, said: str) -> None:
    result = call("run", "first.yaml", "--from", start)
    assert result.exit_code == 2
    assert said in result.output


def test_weights_of_another_shape_are_one_line() -> None:
    call("run", "first.yaml")
    write("wider", denoiser={**RECIPE["denoiser"], "width": 64})
    result = call("run", "wider.yaml", "--from", "runs/first")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert len(result.output) < 3000


def test_finetuning_starts_from_the_model_that_text2img_is() -> None:
    text2img, finetune = (complete(ROOT / f"recipes/{name}.yaml") for name in ("text2img", "finetune"))
    for part in ("compression", "conditioners", "denoiser", "schedule", "objective"):
        assert getattr(finetune, part) == getattr(text2img, part), part
    assert finetune.weights == Shipped(recipe="text2img")


MASKED: dict[str, Any] = {
    "data": {"name": "with-masks", "of": RECIPE["data"]},
    "conditioners": {"known": {"name": "masked-image"}},
}


def test_a_model_without_conditions_is_widened_for_one() -> None:
    assert call("run", "first.yaml").exit_code == 0
    slow = {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9, "widen": True}}
    write("filled", **MASKED, weights="runs/first", train=slow)
    result = call("train", "filled.yaml")
    assert result.exit_code == 0, result.output
    assert "1 with new input channels (denoiser.conv_in.weight)" in result.output
    before, after = trained("first"), trained("filled")
    assert before.keys() == after.keys()
    taken = before["denoiser.conv_in.weight"].shape[-1]
    assert after["denoiser.conv_in.weight"].shape[-1] == taken + 5  # the known latent and its mask
    assert after["denoiser.conv_in.weight"][..., taken:].abs().max() < 1e-6
    after["denoiser.conv_in.weight"] = after["denoiser.conv_in.weight"][..., :taken]
    assert furthest(before, after) < 1e-6


def test_without_widen_a_condition_more_is_refused() -> None:
    assert call("run", "first.yaml").exit_code == 0
    write("filled", **MASKED, weights="runs/first", train={"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9}})
    result = call("train", "filled.yaml")
    assert result.exit_code == 2
    assert "of another shape: denoiser.conv_in.weight" in result.output
    assert "train.diffusion.widen=true" in result.output


def test_widening_refuses_a_denoiser_of_which_nothing_fits() -> None:
    assert call("run", "first.yaml").exit_code == 0
    tokens = {"name": "dit", "width": 32, "depth": 1, "patch": 1, "heads": 1}
    slow = {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9, "widen": True}}
    write("tokens", denoiser=tokens, weights="runs/first", train=slow)
    result = call("train", "tokens.yaml")
    assert result.exit_code == 2
    assert "no weight of its denoiser fits this recipe's" in result.output


def test_the_second_stage_starts_from_another_model_than_the_first() -> None:
    assert call("run", "first.yaml").exit_code == 0
    write("second", train={"diffusion": {"steps": 3, "batch": 4, "lr": 1e-2}}, weights="runs/first")
    assert call("train", "second.yaml").exit_code == 0
    still = {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9, "weights": "runs/second"}}
    write("third", train=still, weights="runs/first")
    result = call("run", "third.yaml")
    assert result.exit_code == 0, result.output
    assert furthest(trained("second"), trained("third")) < 1e-6
    assert "weights: diffusion starts from runs/second/" in call("check", "third.yaml", "--data").output


def test_what_the_second_stage_starts_from_must_be_one() -> None:
    assert call("run", "first.yaml").exit_code == 0
    still = {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9, "weights": {"recipe": "first-stage"}}}
    write("third", train=still, weights="runs/first")
    result = call("train", "third.yaml")
    assert result.exit_code == 2
    assert "train.diffusion.weights: there is no diffusion.safetensors" in result.output


def test_a_recipe_that_widens_is_built_before_it_is_trained() -> None:
    assert call("run", "first.yaml").exit_code == 0
    still = {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-9, "widen": True}}
    write("filled", **MASKED, weights="runs/first", train=still)
    with pytest.warns(Note, match="1 with new input channels"):
        ldmkit.build("filled.yaml")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "lr_factors={denoizer: 2}",
            "lr_factors: no trained weights in 'denoizer'; did you mean 'denoiser'?",
        ),
        (
            "auxiliary=[{name: alignment, layer: midle.0, features: efficientnet-lite0}]",
            "auxiliary (alignment): no layer 'midle.0'; did you mean 'middle.0'?",
        ),
        (
            "auxiliary=[{name: alignment, layer: middle, features: efficientnet-lite0}]",
            "auxiliary (alignment): 'middle' is a list of layers; name one, as 'middle.0'",
        ),
    ],
)
def test_what_the_second_stage_cannot_begin_with_is_refused_before_the_first(setting: str, said: str) -> None:
    result = call("run", "first.yaml", "-s", f"train.diffusion.{setting}")
    assert result.exit_code == 2
    assert said in result.output
    assert not list(Path().glob("runs/first/*/metrics.jsonl"))


def test_check_with_data_looks_at_the_weights_too() -> None:
    write("lost", weights="nowhere")
    assert call("check", "lost.yaml").exit_code == 0
    lost = call("check", "lost.yaml", "--data")
    assert (lost.exit_code, lost.stderr.count("\n")) == (2, 1)
    assert lost.stderr.endswith("weights: no folder nowhere\n")
    assert call("run", "first.yaml").exit_code == 0
    write("second", weights="runs/first", train={"diffusion": RECIPE["train"]["diffusion"]})
    said = call("check", "second.yaml", "--data").stdout
    assert "# weights: compression is runs/first/compression-" in said
    assert "# weights: diffusion starts from runs/first/diffusion-" in said
