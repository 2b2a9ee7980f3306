"""The paper's recipes train from the command line on data of their kind: two steps at reduced size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ldmkit.cli import main
from ldmkit.recipe import load

PAPER = Path(__file__).parents[1] / "recipes" / "paper"
COUNT = 24
FIRST_STAGES = sorted(p.stem for p in PAPER.glob("first-stage-*.yaml") if load(p).train.compression)
TASKS = sorted(p.stem for p in PAPER.glob("*.yaml") if not p.stem.startswith("first-stage-"))
SMALL_TEXT = ("conditioners.caption.width=32", "conditioners.caption.layers=1")
OVERRIDES = {
    "text2img-cc": SMALL_TEXT,
    "text2img-large": SMALL_TEXT,
    "layout": ("conditioners.layout.width=32", "conditioners.layout.layers=1"),
}
SIZES = {"lsun-churches": 128, "first-stage-kl-f32": 128}
"""Height and width of the pictures, where the network asks for more than 64."""


def call(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def changed(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("-s", override)]


def paint(folder: Path, size: int) -> list[str]:
    """Pictures with a disc of some colour each; their names."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    names = []
    for i in range(COUNT):
        pixels = np.full((size, size, 3), 255, np.uint8)
        x, y, radius = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.25)
        disc = (columns / size - x) ** 2 + (rows / size - y) ** 2 < radius**2
        pixels[disc] = rng.integers(0, 200, 3)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        names.append(f"{i}.png")
    return names


def described(folder: Path, names: list[str], field: str, values: list) -> None:
    lines = [json.dumps({"file_name": n, field: v}) for n, v in zip(names, values, strict=True)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def files(folder: Path, names: list[str], field: str, make: Callable[[Image.Image], Image.Image]) -> None:
    """A further picture beside each one, named in metadata.jsonl."""
    (folder / field).mkdir()
    for name in names:
        make(Image.open(folder / name)).save(folder / field / name)
    described(folder, names, field, [f"{field}/{name}" for name in names])


def dark(picture: Image.Image, value: int) -> Image.Image:
    """`value` where the picture is dark, else 0."""
    return picture.convert("L").point(lambda v: value if v < 230 else 0)


def pictures(folder: Path, task: str, size: int) -> None:
    """What recipes/paper/README.md says the folder of a task holds."""
    folder.mkdir()
    names = paint(folder, size)
    if task.startswith("imagenet"):
        for i, name in enumerate(names):
            target = folder / f"class-{i % 3}"
            target.mkdir(exist_ok=True)
            (folder / name).rename(target / name)
    elif task.startswith("text2img"):
        for name in names:
            (folder / name).with_suffix(".txt").write_text(f"disc number {name}")
    elif task == "layout":
        described(folder, names, "layout", [[[17, 0.1, 0.4, 0.5, 0.5], [61, 0, 0.7, 1, 0.3]]] * COUNT)
    elif task == "semantic":
        files(folder, names, "segmentation", lambda p: dark(p, 181))
    elif task == "super-resolution":
        files(folder, names, "low_res", lambda p: p.resize((size // 4, size // 4)))
    elif task == "inpainting":
        files(folder, names, "mask", lambda p: dark(p, 255))


def small_first_stage(name: str) -> list[str]:
    """Overrides that keep a first stage's levels and make it narrow."""
    given = load(PAPER / f"{name}.yaml").compression.flat()
    codes = ["compression.codebook_size=16"] if "codebook_size" in given else []
    return changed("compression.width=32", "compression.blocks=1", *codes)


def train_first_stage(name: str, place: Path) -> Path:
    """Two steps of a first stage; the folder of its weights."""
    size = SIZES.get(name, 64)
    pictures(place / "pictures", name, size)
    small = changed(
        f"data.path={place / 'pictures'}",
        f"data.size={size}",
        "train.compression.steps=2",
        "train.compression.batch=2",
        "train.compression.loss=[{name: pixel}]",
    )
    recipe = str(PAPER / f"{name}.yaml")
    out = ["--runs", str(place / "runs"), "--out", str(place / "out")]
    call("run", recipe, *out, *small_first_stage(name), *small)
    assert (place / "out" / "grid.png").is_file()
    return next((place / "runs").glob(f"{name}/compression-*/compression.safetensors")).parent


@pytest.fixture(scope="module")
def first_stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Small first stages by name, each trained when it is first asked for."""
    trained: dict[str, Path] = {}

    def weights(name: str) -> Path:
        if name not in trained:
            trained[name] = train_first_stage(name, tmp_path_factory.mktemp(name))
        return trained[name]

    return weights


@pytest.mark.parametrize("name", FIRST_STAGES)
def test_a_first_stage_trains_on_pictures_alone(name: str, first_stages: Callable[[str], Path]) -> None:
    log = first_stages(name) / "metrics.jsonl"
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    assert steps[-1]["step"] == 2
    assert any("validation_psnr" in line for line in steps)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_trains_and_draws_on_data_of_its_kind(
    task: str, first_stages: Callable[[str], Path], tmp_path: Path
) -> None:
    recipe, size = load(PAPER / f"{task}.yaml"), SIZES.get(task, 64)
    first = f"first-stage-{Path(str(recipe.weights)).name}"
    pictures(tmp_path / "pictures", task, size)
    small = changed(
        f"data.path={tmp_path / 'pictures'}",
        f"data.size={size}",
        f"weights={first_stages(first)}",
        "denoiser.width=32",
        "denoiser.blocks=1",
        "train.diffusion.steps=2",
        "train.diffusion.batch=2",
        "sampler.steps=2",
        *OVERRIDES.get(task, ()),
    )
    drawn = [] if task in ("semantic", "super-resolution", "inpainting") else ["--size", f"{size}x{size}"]
    out = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), *drawn]
    call("run", str(PAPER / f"{task}.yaml"), *out, *small_first_stage(first), *small)
    (log,) = (tmp_path / "runs").glob(f"{task}/diffusion-*/metrics.jsonl")
    assert json.loads(log.read_text().splitlines()[-1])["step"] == 2
    made = [p for p in (tmp_path / "out").glob("*.png") if p.name != "grid.png"]
    assert made
    assert all(Image.open(p).size == (size, size) for p in made)
