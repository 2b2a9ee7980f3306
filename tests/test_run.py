"""`ldmkit run` and `ldmkit sample` as a user calls them, on a model that trains in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from small_recipes import LATENTS, UNET

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.pictures.png import read_about, save_picture

STAGE = {"steps": 2, "batch": 4, "lr": 1e-3}
RECIPE = {
    **LATENTS,
    "name": "tiny",
    "data": {"name": "image-folder", "path": "pictures", "size": 16},
    "conditioners": {
        "caption": {"name": "text-transformer", "width": 32, "layers": 1, "length": 8, "dropout": 0.1}
    },
    "denoiser": {**UNET, "attention": [1]},
    "train": {
        "compression": {**STAGE, "loss": [{"name": "pixel"}]},
        "diffusion": {**STAGE, "ema": 0.9},
    },
    "sampler": {"name": "ddim", "eta": 1.0, "spacing": "leading", "steps": 3},
    "guidance": [{"name": "classifier-free", "scale": 2}],
    "sample": {"prompts": ["a red square", "a blue square"], "seed": 5},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, captions, a recipe, and the trained model of one `ldmkit run`."""
    place = tmp_path_factory.mktemp("place")
    (place / "pictures").mkdir()
    for i in range(24):
        colour = "red" if i % 2 else "blue"
        Image.new("RGB", (16, 16), colour).save(place / "pictures" / f"{i}.png")
        (place / "pictures" / f"{i}.txt").write_text(f"a {colour} square")
    (place / "pictures" / "broken.png").write_text("not a picture")
    (place / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = call("run", "tiny.yaml")
        assert result.exit_code == 0, result.output
        assert "left out pictures/broken.png" in result.output
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=int)


def test_a_run_leaves_a_picture_for_each_prompt_and_a_grid(place: Path) -> None:
    made = sorted(p.name for p in (place / "runs/tiny/samples").glob("*.png"))
    assert made == ["000-a-red-square-5.png", "001-a-blue-square-6.png", "grid.png"]
    about = read_about(place / "runs/tiny/samples/001-a-blue-square-6.png")
    assert (about["prompt"], about["seed"], about["recipe"]) == ("a blue square", "6", "tiny")


def test_a_second_run_reuses_training_and_pictures() -> None:
    result = call("run", "tiny.yaml")
    assert result.exit_code == 0, result.output
    assert result.output.count("reused runs/tiny") == 2
    assert "samples: 2 reused, 0 to make" in result.output


def test_a_picture_whose_pixels_were_replaced_is_drawn_again_and_told(place: Path) -> None:
    call("sample", "tiny.yaml", "--out", "replaced")
    red, blue = (place / "replaced" / name for name in ("000-a-red-square-5.png", "001-a-blue-square-6.png"))
    drawn, about = pixels(blue), PngInfo()
    with Image.open(blue) as picture:
        for key, value in picture.text.items():
            about.add_itxt(key, value)
        picture.rotate(90).save(blue, pnginfo=about)
    assert np.abs(pixels(blue) - drawn).max() > 1
    red.write_bytes(red.read_bytes()[:-60])
    result = call("sample", "tiny.yaml", "--out", "replaced")
    assert result.exit_code == 0, result.output
    assert f"1 no longer show what was drawn, and are drawn again: {blue.name}\n" in result.output
    assert "0 reused, 2 to make" in result.output
    assert np.abs(pixels(blue) - drawn).max() <= 1


def test_a_picture_that_was_compressed_anew_or_is_of_an_earlier_version_is_kept(place: Path) -> None:
    call("sample", "tiny.yaml", "--out", "kept")
    for name, recorded in (("000-a-red-square-5.png", True), ("001-a-blue-square-6.png", False)):
        with Image.open(place / "kept" / name) as picture:
            entries = PngInfo()
            for key, value in picture.text.items():
                if recorded or key != "ldmkit:pixels":
                    entries.add_itxt(key, value)
            picture.convert("RGBA").save(place / "kept" / name, pnginfo=entries, compress_level=1)
    assert "samples: 2 reused, 0 to make" in call("sample", "tiny.yaml", "--out", "kept").output


def test_what_follows_train_never_causes_a_training() -> None:
    result = call("run", "tiny.yaml", "-s", "sampler.steps=2", "-s", "guidance=[]", "--out", "two")
    assert result.output.count("reused runs/tiny") == 2
    assert "0 reused, 2 to make" in result.output


def test_a_picture_is_made_again_from_what_it_carries(place: Path) -> None:
    original = place / "runs/tiny/samples/001-a-blue-square-6.png"
    result = call("sample", "tiny.yaml", "--again", str(original), "--out", "again")
    assert result.exit_code == 0, result.output
    again = pixels(place / "again/000-a-blue-square-6.png")
    assert np.abs(again - pixels(original)).max() <= 1


def test_a_picture_does_not_depend_on_its_batch() -> None:
    system = ldmkit.build("tiny.yaml")
    prompts = ["a red square"] * 5
    together = system.sample(prompts, seed=3)
    apart = system.sample(prompts, seed=3, batch=2)
    for one, other in zip(together, apart, strict=True):
        assert np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max() <= 1


def test_a_contact_sheet_is_not_made_again(place: Path) -> None:
    result = call("sample", "tiny.yaml", "--again", str(place / "again/grid.png"), "--out", "sheet")
    assert result.exit_code == 2
    assert "does not say how it was drawn: it shows 000-a-blue-square-6.png" in result.stderr


def test_another_recipe_refuses_to_make_it_again(place: Path) -> None:
    original = place / "runs/tiny/samples/001-a-blue-square-6.png"
    result = call("sample", "tiny.yaml", "-s", "sampler.steps=2", "--again", str(original), "--out", "other")
    assert result.exit_code == 2
    assert "was made by recipe digest" in result.output
    assert ": sampler.steps was 3, is 2\n" in result.stderr
    assert not (place / "other").exists()


def test_another_size_is_named_where_a_picture_is_to_be_made_again(place: Path) -> None:
    original = place / "runs/tiny/samples/001-a-blue-square-6.png"
    result = call("sample", "tiny.yaml", "--size", "32x48", "--again", str(original), "--out", "other")
    assert result.exit_code == 2
    assert "size was null, is 32x48" in result.stderr
    assert "sampler.steps" not in result.stderr


def test_a_picture_of_the_page_is_made_again(place: Path) -> None:
    """As the page draws it: by `System.sample`, with what the page writes of it."""
    from ldmkit_serve.metadata import sampler_override

    system = ldmkit.build("tiny.yaml")
    (drawn,) = system.sample(["a blue square"], seed=11, steps=2)
    override = sampler_override(system.recipe.sampler, {"sampler": system.recipe.sampler.name, "steps": 2})
    about = {"prompt": "a blue square", "seed": "11", "recipe": "tiny", "options": json.dumps([override])}
    save_picture(drawn, place / "served.png", about)
    result = call("sample", "tiny.yaml", "--again", "served.png", "--out", "served-again")
    assert result.exit_code == 0, result.output
    (again,) = (place / "served-again").glob("000-*.png")
    assert np.abs(pixels(again) - pixels(place / "served.png")).max() <= 1
    about["recipe"] = "another"
    save_picture(drawn, place / "served.png", about)
    result = call("sample", "tiny.yaml", "--again", "served.png", "--out", "served-again")
    assert (result.exit_code, "was made by recipe 'another', this is 'tiny'" in result.stderr) == (2, True)


def test_prompts_come_from_a_file_and_the_command_line(place: Path) -> None:
    (place / "prompts.txt").write_text("one\n\n  two  \n", encoding="utf-8")
    call(
        "sample",
        "tiny.yaml",
        "--prompt",
        "zero",
        "--prompts-file",
        "prompts.txt",
        "--seed",
        "1",
        "--out",
        "p",
    )
    names = sorted(p.name for p in (place / "p").glob("0*.png"))
    assert names == ["000-zero-1.png", "001-one-2.png", "002-two-3.png"]


def test_sampling_without_weights_says_how_to_get_them() -> None:
    result = call("sample", "tiny.yaml", "-s", "train.compression.lr=0.5")
    assert result.exit_code == 2
    assert "no weights for its compression stage" in result.output


def test_a_negative_prompt_changes_the_picture() -> None:
    system = ldmkit.build("tiny.yaml")
    strong = [{"name": "classifier-free", "scale": 1e4}]  # two training steps leave hardly any condition
    plain, steered = (
        system.sample(["a red square"], seed=1, negative=negative, guidance=strong)[0]
        for negative in (None, "a blue square")
    )
    assert np.asarray(plain).tolist() != np.asarray(steered).tolist()


def test_a_missing_field_is_named() -> None:
    system = ldmkit.build("tiny.yaml")
    with pytest.raises(UserError, match="needs the condition field"):
        system.condition({})
