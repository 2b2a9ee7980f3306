"""Models that travel: as a folder, as a wheel, through the hub (a stand-in of its HTTP interface)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from click.testing import CliRunner, Result
from hub_standin import COMMIT, HubStandIn, hub_environment
from PIL import Image
from safetensors.torch import load_file
from small_recipes import UNET

from ldmkit import load
from ldmkit.cli import main
from ldmkit.engine.versions import distributions
from ldmkit.host.plugins import host

RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "toy",
    "data": {"name": "image-folder", "path": "pictures", "size": 16},
    "compression": {"name": "kl-autoencoder", "factor": 2, "channels": 4, "width": 32, "multipliers": [1, 1]},
    "denoiser": UNET,
    "train": {
        "compression": {"steps": 1, "batch": 2, "lr": 1e-3, "loss": ["pixel"]},
        "diffusion": {"steps": 1, "batch": 2, "lr": 1e-3},
    },
    "sampler": {"name": "ddim", "steps": 2},
    "sample": {"size": [16, 16], "count": 2},
}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def largest_difference(one: Path, other: Path) -> int:
    """Of two pictures' bytes."""
    pixels = [Image.open(path).tobytes() for path in (one, other)]
    return max(abs(a - b) for a, b in zip(*pixels, strict=True))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with a trained toy, packaged as `model` and as a wheel in `dist`."""
    place = tmp_path_factory.mktemp("package")
    (place / "pictures").mkdir()
    for i in range(6):
        Image.new("RGB", (16, 16), (40 * i, 30, 30)).save(place / "pictures" / f"{i}.png")
    (place / "toy.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert call("run", "toy.yaml").exit_code == 0
        result = call("package", "toy.yaml", "-o", "model", "--license", "mit", "--wheel", "dist")
        assert result.exit_code == 0, result.output
        yield place


def test_a_folder_draws_what_the_training_drew(place: Path) -> None:
    result = call("run", "model", "--runs", "elsewhere", "--out", "drawn")
    assert result.exit_code == 0, result.output
    assert "diffusion: reused model/diffusion.safetensors" in result.output
    (trained,) = Path("runs/toy").glob("diffusion-*/diffusion.safetensors")
    whole, half = load_file(trained), load_file("model/diffusion.safetensors")
    assert whole.keys() == half.keys()
    assert all((whole[name].half().float() == half[name].float()).all() for name in whole)
    drawn = sorted(p.name for p in Path("drawn").glob("0*.png"))
    assert drawn == sorted(p.name for p in Path("model/pictures").glob("0*.png"))
    assert largest_difference(*(Path(f) / drawn[0] for f in ("drawn", "runs/toy/samples"))) <= 2


def test_the_card_says_what_the_model_is_and_how_to_make_it_again(place: Path) -> None:
    card = Path("model/README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "mit"
    assert "| denoiser | `unet` |" in card
    assert "image-folder" in card
    assert "![Pictures that these weights drew](pictures/grid.png)" in card
    assert Path("model/pictures/grid.png").is_file()
    assert yaml.safe_load(Path("model/training.yaml").read_text())["train"]["diffusion"]["steps"] == 1


def test_what_the_card_installs_is_enough_to_draw_and_to_measure(place: Path) -> None:
    metrics = "evaluate.metrics=[{name: frechet, features: efficientnet-lite0}]"
    result = call("package", "toy.yaml", "-o", "listed", "--wheel", "listed", "-s", metrics)
    assert result.exit_code == 0, result.output
    (line,) = re.findall(r"^    pip install (.*)$", Path("listed/README.md").read_text(), re.MULTILINE)
    installed = {entry.distribution for entry in host().registry}
    others = [word for name in sorted(installed - {*line.split()}) for word in ("--without", name)]
    assert "ldmkit-zoo" in others  # weights of other models
    command = [sys.executable, "-m", "ldmkit", *others, "check", "listed"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = Path("listed").glob("*.whl")
    with ZipFile(wheel) as held:
        (metadata,) = (held.read(name).decode() for name in held.namelist() if name.endswith("/METADATA"))
    assert sorted(re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)) == sorted(line.split())


def test_a_card_installs_the_package_that_a_component_takes_weights_from() -> None:
    recipe = load("text2img")
    assert recipe.conditioners["caption"].parameters["package"] in distributions(recipe, host().registry)


def test_figures_of_an_evaluation_are_on_the_card(place: Path) -> None:
    assert call("evaluate", "toy.yaml", "-s", "evaluate.metrics=[{name: reconstruction}]").exit_code == 0
    assert call("package", "toy.yaml", "-o", "measured").exit_code == 0
    card = Path("measured/README.md").read_text()
    assert "| `reconstruction` | " in card
    assert "psnr" in card


def test_a_version_and_a_licence_are_read_as_they_are_meant(place: Path) -> None:
    wrong = call("package", "toy.yaml", "-o", "versioned", "--wheel", "versioned", "--version", "x y")
    assert (wrong.exit_code, Path("versioned").exists()) == (2, False)
    assert "version 'x y': is no version" in wrong.output
    options = ["--wheel", "versioned", "--version", "1.0-rc1", "--license", "CC: BY #4"]
    made = call("package", "toy.yaml", "-o", "versioned", *options)
    assert "wheel: versioned/ldmkit_toy-1.0rc1-py3-none-any.whl" in made.output
    assert yaml.safe_load(Path("versioned/README.md").read_text().split("---")[1])["license"] == "CC: BY #4"


def test_figures_of_other_weights_or_settings_are_not_on_the_card(place: Path) -> None:
    assert call("evaluate", "toy.yaml", "-s", "evaluate.metrics=[{name: reconstruction}]").exit_code == 0
    report = Path("runs/toy/evaluation/metrics.json")
    for options in (("-s", "sampler.steps=1"), ()):
        if not options:  # as after a training of other weights
            written = json.loads(report.read_text())
            written["weights"]["diffusion"] = "0" * 64
            report.write_text(json.dumps(written))
        out = f"unmeasured-{len(options)}"
        result = call("package", "toy.yaml", "-o", out, *options)
        assert result.exit_code == 0, result.output
        assert "measured on other weights or settings, left out of the card" in result.output
        assert "Not measured" in Path(out, "README.md").read_text()


def test_a_folder_that_is_there_is_left_alone(place: Path) -> None:
    result = call("package", "toy.yaml", "-o", "pictures")
    assert result.exit_code == 2
    assert "pictures exists already" in result.output
    assert len(list(Path("pictures").iterdir())) == 6


def test_the_wheel_brings_recipe_and_weights(place: Path) -> None:
    (wheel,) = Path("dist").glob("ldmkit_toy-0.1.0-*.whl")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", "site", str(wheel)]
    subprocess.run(command, check=True)
    draw = "from ldmkit.cli import main; main(['run', 'ldmkit-toy:toy', '--out', 'by-wheel'])"
    program = f"import sys; sys.path.insert(0, 'site'); {draw}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "site/ldmkit_toy/model/diffusion.safetensors" in done.stdout
    assert len(list(Path("by-wheel").glob("0*.png"))) == 2


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    with hub_environment(tmp_path / "hf") as environment:
        yield environment


def ldmkit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ldmkit", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_what_is_pushed_is_found_by_hub_and_revision(place: Path, hub: dict[str, str]) -> None:
    pushed = ldmkit(hub, "push", "model", "me/toy")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == f"weights: {{hub: me/toy, revision: {COMMIT}}}\n"
    assert {
        "README.md",
        "recipe.yaml",
        "diffusion.safetensors",
        "pictures/grid.png",
    } <= HubStandIn.files.keys()
    ours = {**RECIPE, "name": "ours", "train": {}, "weights": {"hub": "me/toy", "revision": COMMIT}}
    Path("ours.yaml").write_text(yaml.safe_dump(ours))
    drawn = ldmkit(hub, "run", "ours.yaml", "--out", "by-hub")
    assert drawn.returncode == 0, drawn.stderr
    first = sorted(Path("by-hub").glob("0*.png"))[0]
    assert largest_difference(first, Path("model/pictures") / first.name) <= 2  # the weights are float16


def test_a_recipe_on_a_model_of_the_hub_need_not_repeat_its_first_stage(
    place: Path, hub: dict[str, str]
) -> None:
    """`check` fetches nothing, and reads what `run` has fetched."""
    assert ldmkit(hub, "push", "model", "me/toy").returncode == 0
    ours = {**RECIPE, "name": "ours", "train": {}, "weights": {"hub": "me/toy", "revision": COMMIT}}
    del ours["compression"]
    Path("ours.yaml").write_text(yaml.safe_dump(ours))
    before = ldmkit(hub, "check", "ours.yaml")
    assert before.returncode == 2
    (line,) = before.stderr.splitlines()
    assert line.startswith("error: ours.yaml:")
    assert f"fetch it with `hf download me/toy --revision {COMMIT}`, or write that section" in line
    assert not Path(hub["HF_HOME"], "hub").exists()
    drawn = ldmkit(hub, "run", "ours.yaml", "--out", "by-hub")
    assert drawn.returncode == 0, drawn.stderr
    assert len(list(Path("by-hub").glob("0*.png"))) > 0
    after = ldmkit({**hub, "HF_HUB_OFFLINE": "1"}, "check", "--explain", "ours.yaml")
    assert after.returncode == 0, after.stderr
    lines = [line for line in after.stdout.splitlines() if line.startswith("compression")]
    assert any("models--me--toy" in line for line in lines), lines


def test_what_a_packaged_recipe_names_is_fetched_with_its_weights(place: Path, hub: dict[str, str]) -> None:
    """All of it, also where an earlier download stopped in the midst."""
    for name in ("network.pth", "start.png"):
        Path(name).write_bytes(Path("pictures/0.png").read_bytes())
    metric = "evaluate.metrics=[{name: frechet, features: {name: efficientnet-lite0, path: network.pth}}]"
    named = ("-s", metric, "-s", "sample.init=start.png")
    result = call("package", "toy.yaml", "-o", "naming", *named)
    assert result.exit_code == 0, result.output
    HubStandIn.files.clear()
    assert ldmkit(hub, "push", "naming", "me/toy").returncode == 0
    ours = {**RECIPE, "name": "ours", "train": {}, "weights": {"hub": "me/toy", "revision": COMMIT}}
    Path("ours.yaml").write_text(yaml.safe_dump(ours))
    for _ in range(2):
        drawn = ldmkit(hub, "run", "ours.yaml", "--out", "by-hub")
        assert drawn.returncode == 0, drawn.stderr
        (snapshot,) = Path(hub["HF_HOME"], "hub/models--me--toy/snapshots").iterdir()
        assert {p.relative_to(snapshot).as_posix() for p in snapshot.rglob("*") if p.is_file()} == {
            *("compression.safetensors", "diffusion.safetensors", "manifest.json", "recipe.yaml"),
            *("training.yaml", "inputs/start.png"),
            "files/evaluate-metrics-0-features-path/network.pth",
        }
        shutil.rmtree(snapshot / "files")
        (snapshot / "diffusion.safetensors").unlink()


def test_a_hub_that_is_not_there_is_one_line(place: Path, hub: dict[str, str]) -> None:
    away = {**hub, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = ldmkit(away, "push", "model", "me/toy")
    assert done.returncode == 2
    assert done.stderr.startswith("error: me/toy: the hub did not take it")
    assert "Traceback" not in done.stderr


def test_an_adapter_becomes_part_of_the_weights_and_each_package_draws_its_pictures_again(
    place: Path,
) -> None:
    training = "train: {steps: 1, batch: 2, lr: 0.1}"
    style = f"adapters={{style: {{name: lora, rank: 2, strength: 90, layers: ['denoiser.*'], {training}}}}}"
    for verb in (["run", "toy.yaml"], ["package", "toy.yaml", "-o", "styled", "--license", "mit"]):
        result = call(*verb, "-s", style)
        assert result.exit_code == 0, result.output
    assert "adapter style: part of the weights, at strength 90" in result.output
    assert call("sample", "styled", "--out", "by-style").exit_code == 0
    (first, *_), (plain, *_) = (sorted(Path(p).glob("0*.png")) for p in ("by-style", "model/pictures"))
    assert largest_difference(first, Path("styled/pictures") / first.name) <= 2
    assert largest_difference(first, plain) > 2
    for model in ("model", "styled"):  # without an adapter, and with one
        (picture, *_) = sorted(Path(model, "pictures").glob("0*.png"))
        again = call("sample", model, "--again", str(picture), "--out", f"again-{model}")
        assert again.exit_code == 0, again.output
        assert largest_difference(Path(f"again-{model}") / picture.name, picture) == 0


def test_only_a_packaged_model_is_pushed(place: Path) -> None:
    result = call("push", "pictures", "me/toy")
    assert result.exit_code == 2
    assert "holds no recipe.yaml; `ldmkit package` writes such a folder" in result.output
