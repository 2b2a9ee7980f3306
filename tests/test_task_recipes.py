"""Every task's recipe is valid, trains and draws: two steps at reduced size, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import ldmkit
from ldmkit.cli import main
from ldmkit.host.plugins import host
from ldmkit.recipe import Shipped, load, resolve

BASES = ("first-stage", "unconditional")
"""What the tasks start from: the first stage for all, and the model of avatars without conditions on it."""
RECIPES = Path(__file__).parents[1] / "recipes"
AVATARS = "{name: avatars, size: 32, styles: [toon-head], count: 40}"
STAGE = ("denoiser.width=32", "train.diffusion.steps=2", "train.diffusion.batch=2", "sampler.steps=2")
OVERRIDES: dict[str, tuple[str, ...]] = {
    "unconditional": (f"data={AVATARS}", "sample.size=[32, 32]", "sample.count=2"),
    "class2img": (f"data={AVATARS}", "sample.size=[32, 32]", "sample.fields.label=[0, 5]", "sample.count=1"),
    "text2img": (
        "data={name: emoji, size: 64, styles: [fxemoji]}",
        "sample.size=[64, 64]",
        "train.diffusion.weights=null",
        "train.diffusion.widen=false",
    ),
    "semantic2img": (f"data={AVATARS}", "sample.size=[32, 32]", "sample.count=2"),
    "landscapes": ("data={name: landscapes, size: 32, count: 40}",),
    "layout2img": (f"data={AVATARS}", "sample.size=[32, 32]", "sample.count=2"),
    "super-resolution": (f"data.of={AVATARS}", "sample.count=2"),
    "inpaint": (f"data.of={AVATARS}", "sample.count=2"),
    "text-and-low-res": (f"data.of={AVATARS}", "sample.size=[32, 32]", "sample.count=2"),
    "class-and-map": (f"data={AVATARS}", "sample.size=[32, 32]", "sample.count=2"),
}
"""What makes a recipe small, besides STAGE and the first stage."""
WITH_TEXT2IMG = ("img2img", "lora", "text2img-fast")
"""What extends text2img and draws with its weights."""
WITHOUT_TRAINING = ("light-decoder", "clip-edit")
"""Another decoder of the first stage's latents, and what needs no diffusion model."""
SIZES = {"landscapes": (1024, 128), "text2img": (64, 64)}
"""Width and height of the pictures, where they are not 32 x 32."""


@pytest.mark.parametrize("name", ["class2img", "class-and-map"])
def test_classes_are_called_as_the_data_call_them(name: str) -> None:
    """`--input label=micah` draws what the data call so."""
    system = ldmkit.build(RECIPES / f"{name}.yaml")
    names = resolve(load(RECIPES / f"{name}.yaml"), host().registry).conditioners["label"].parameters["names"]
    assert names == system.dataset().class_names["label"]


def call(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def changed(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("-s", override)]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory):
    """A folder with the weights of a small first stage; avatars are drawn below it as well."""
    place = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDMKIT_CACHE", str(place / "cache"))
        small = changed(
            f"data={AVATARS}",
            "weights=null",
            "compression.width=32",
            "train.compression.steps=2",
            "train.compression.batch=2",
            "train.compression.loss=[{name: pixel}]",
        )
        call("train", str(RECIPES / "first-stage.yaml"), "--runs", str(place / "runs"), *small)
        yield next((place / "runs" / "first-stage").glob("compression-*/compression.safetensors")).parent


def test_every_task_is_tested() -> None:
    weights = {p.stem: load(p).weights for p in RECIPES.glob("*.yaml")}
    named = [name for name, given in weights.items() if isinstance(given, Shipped) and given.recipe in BASES]
    assert sorted(named) == sorted([*OVERRIDES, *WITH_TEXT2IMG, *WITHOUT_TRAINING])


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_task_rests_on_the_first_stage(name: str) -> None:
    """The recipe and that of the first stage describe the same network, and only one trains it."""
    registry = host().registry
    recipe, below = (resolve(load(RECIPES / f"{n}.yaml"), registry) for n in (name, "first-stage"))
    assert recipe.compression == below.compression
    assert recipe.train.compression is None
    assert recipe.train.diffusion is not None


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_task_trains_and_draws(name: str, first: Path, tmp_path: Path) -> None:
    small = changed(f"weights={first}", "compression.width=32", *STAGE, *OVERRIDES[name])
    runs, out = tmp_path / "runs", tmp_path / "out"
    call("run", str(RECIPES / f"{name}.yaml"), "--runs", str(runs), "--out", str(out), *small)
    (log,) = runs.glob(f"{name}/diffusion-*/metrics.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["step"] == 2
    assert any("validation_loss" in line for line in lines)
    pictures = [p for p in out.glob("*.png") if p.name != "grid.png"]
    assert pictures
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.size == SIZES.get(name, (32, 32)), path
            assert picture.info["ldmkit:recipe"] == name, path


def test_img2img_draws_every_prompt_from_the_one_picture_with_the_weights_of_text2img(tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = changed("sampler.steps=4", "sample.count=1")
    said = call("run", str(RECIPES / "img2img.yaml"), "--runs", str(tmp_path), "--out", str(out), *small)
    assert said.count("reused") >= 2
    drawn = {p.name: Image.open(p).convert("RGB") for p in out.glob("0*.png")}
    prompts = resolve(load(RECIPES / "img2img.yaml"), host().registry).sample.prompts
    assert len(drawn) == len(prompts) == 4
    assert len({picture.tobytes() for picture in drawn.values()}) == 4
    for name, picture in drawn.items():
        red, green, _ = picture.getpixel((64, 80))  # in the middle of the sketch's red disc
        assert red > green + 40, name


def test_clip_guided_draws_with_the_weights_of_text2img_and_heeds_the_prompt(
    tmp_path: Path,
) -> None:
    recipe, small = str(RECIPES / "clip-guided.yaml"), changed("sampler.steps=3")
    for out, prompt in (("one", "3D fox"), ("other", "flat strawberry")):
        said = call(
            "run", recipe, "--runs", str(tmp_path), "--out", str(tmp_path / out), "--prompt", prompt, *small
        )
        assert said.count("reused") >= 2
    one, other = (Image.open(next((tmp_path / out).glob("0*.png"))).tobytes() for out in ("one", "other"))
    assert one != other
