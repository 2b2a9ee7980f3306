"""Conditions of every kind from the command line, recipes and Python, on models that train in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_recipes
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image

import ldmkit
from ldmkit.cli import main
from ldmkit.engine import plans, sampling
from ldmkit.errors import UserError
from ldmkit.pictures import to_pictures
from ldmkit.pictures.png import read_about
from ldmkit.verbs import records

UNET = {**small_recipes.UNET, "attention": [1]}
RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "pixels",
    "data": {"name": "image-folder", "path": "pictures", "size": 16},
    "compression": {"name": "identity"},
    "denoiser": UNET,
    "objective": {"name": "v"},
    "train": {"diffusion": {"steps": 2, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 4},
}
CLASSES = {"label": {"name": "class-embedding", "width": 16, "names": ["red", "blue"], "dropout": 0.2}}
MAP = {"segmentation": {"name": "spatial-rescaler", "classes": 3, "channels": 2, "stages": 0, "dropout": 0.2}}
HOLES = {
    "data": {"name": "with-masks", "of": RECIPE["data"]},
    "guidance": [{"name": "known-region"}],
    "sample": {"fields": {"image": ["pictures/3.png"], "mask": ["mask.png"]}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, maps, masks, and recipes for each kind of condition, not yet trained."""
    place = tmp_path_factory.mktemp("place")
    (place / "pictures").mkdir()
    draws, lines = np.random.default_rng(0), []
    for i in range(12):
        pixels = draws.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "pictures" / f"{i}.png")
        classes = draws.integers(0, 3, (16, 16), dtype=np.uint8)
        Image.fromarray(classes).save(place / f"map-{i}.png")
        lines.append({"file_name": f"{i}.png", "label": i % 2, "segmentation": classes.tolist()})
    (place / "pictures/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    hole = np.zeros((16, 16), np.uint8)
    hole[4:10, 4:10] = 255
    Image.fromarray(hole).save(place / "mask.png")
    Image.fromarray(hole[:8]).save(place / "half-mask.png")
    write(place, "plain")
    write(place, "classes", conditioners=CLASSES, guidance=[{"name": "classifier-free", "scale": 2}])
    write(place, "both", conditioners={**CLASSES, **MAP}, guidance=[{"name": "classifier-free"}])
    write(place, "holes", **HOLES)
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def write(place: Path, name: str, **changes: Any) -> None:
    values = {**RECIPE, "name": name, **changes}
    (place / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def drawn(*arguments: str, out: str) -> list[Path]:
    result = call(*arguments, "--out", out)
    assert result.exit_code == 0, result.output
    return sorted(path for path in Path(out).glob("*.png") if path.name != "grid.png")


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=int)


def test_known_pixels_come_back_as_they_were_and_the_hole_is_filled() -> None:
    (made,) = drawn("run", "holes.yaml", out="kept")
    known = pixels("mask.png")[..., 0] == 0
    assert np.abs(pixels(made) - pixels("pictures/3.png"))[known].max() == 0
    assert np.abs(pixels(made) - pixels("pictures/3.png"))[~known].mean() > 5


def test_guidance_without_pasting_leaves_the_decoders_pixels() -> None:
    paste = ["-s", "guidance=[{name: known-region, paste: false}]"]
    (made,) = drawn("run", "holes.yaml", *paste, out="decoded")
    known = pixels("mask.png")[..., 0] == 0
    difference = np.abs(pixels(made) - pixels("pictures/3.png"))[known]
    assert 0 < difference.mean() < 15


def test_mask_and_picture_are_given_on_the_command_line() -> None:
    Image.new("RGB", (16, 16), (10, 200, 30)).save("green.png")
    (made,) = drawn("run", "holes.yaml", "--input", "image=green.png", "--mask", "mask.png", out="green")
    assert pixels(made)[0, 0].tolist() == [10, 200, 30]
    assert json.loads(read_about(made)["inputs"])["image"]["file"] == "green.png"


def test_pictures_tensors_and_files_mean_the_same() -> None:
    call("run", "holes.yaml")
    system = ldmkit.build("holes.yaml")
    picture, mask = Image.open("pictures/5.png"), Image.open("mask.png")
    tensor = torch.from_numpy(pixels("pictures/5.png")).permute(2, 0, 1)[None] / 127.5 - 1
    holes = torch.from_numpy(pixels("mask.png")[..., 0] > 0)[None]
    forms = [
        {"image": "pictures/5.png", "mask": Path("mask.png")},
        {"image": picture, "mask": [mask]},
        {"image": tensor.float(), "mask": holes},
    ]
    first, *others = (np.asarray(system.sample(fields=form, seed=4)[0]).tolist() for form in forms)
    assert all(other == first for other in others)


def test_two_guidance_inputs_that_do_not_fit_are_one_line() -> None:
    result = call("run", "holes.yaml", "--mask", "half-mask.png", "--out", "never")
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith("error: guidance (known-region): mask: 8x16 masks")
    assert not Path("never").exists()


def test_classes_are_named_and_every_picture_can_be_made_again() -> None:
    paths = drawn(
        "run", "classes.yaml", "--input", "label=blue", "--input", "label=0", "--count", "2", out="c"
    )
    assert [p.name for p in paths] == ["000-blue-0.png", "001-blue-1.png", "002-0-2.png", "003-0-3.png"]
    assert read_about(paths[0])["inputs"] == '{"label": "blue"}'
    again = drawn("sample", "classes.yaml", "--again", str(paths[3]), out="c-again")
    assert np.abs(pixels(again[0]) - pixels(paths[3])).max() <= 1


def test_a_name_stands_for_its_number() -> None:
    call("run", "classes.yaml")
    system = ldmkit.build("classes.yaml")
    named, numbered = (system.sample(fields={"label": x}, seed=3)[0] for x in ("blue", 1))
    assert np.asarray(named).tolist() == np.asarray(numbered).tolist()


def test_options_that_changed_the_recipe_are_known_to_again() -> None:
    options = ["--steps", "3", "--guidance", "3.5", "--size", "16x24"]
    (made,) = drawn("run", "classes.yaml", "--input", "label=red", *options, out="options")
    assert pixels(made).shape == (16, 24, 3)
    (again,) = drawn("sample", "classes.yaml", "--again", str(made), out="options-again")
    assert np.abs(pixels(again) - pixels(made)).max() <= 1


def test_another_size_is_told_as_a_person_gives_it() -> None:
    (made,) = drawn("run", "classes.yaml", "--input", "label=red", "--size", "16x24", out="sized")
    other = call("sample", "classes.yaml", "--again", str(made), "--size", "32x16", "--out", "sized-again")
    assert other.exit_code == 2
    assert ": size was 16x24, is 32x16; it was made with" in other.output


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"inputs": '{"label": "green"}'}, "condition 'label': label: no class 'green'"),
        ({"inputs": '{"label": [0, 1]}'}, "condition 'label': label: expects class ids"),
        ({"inputs": '{"labels": 1}'}, "does not read the condition field(s) labels"),
        ({"inputs": '{"label": {"file": 3}}'}, "the picture's label cannot be read: its file is 3, no path"),
        ({"init": "3", "strength": "0.5"}, "init: "),
        ({"init": '"metadata"', "strength": "0.5"}, "metadata: no such file"),
    ],
)
def test_what_a_picture_says_of_its_inputs_is_read_before_any_work(about: dict[str, str], said: str) -> None:
    from ldmkit.pictures.png import save_picture

    (made,) = drawn("run", "classes.yaml", "--input", "label=red", out="odd")
    save_picture(Image.open(made), Path("odd.png"), {**read_about(made), **about})
    result = call("sample", "classes.yaml", "--again", "odd.png", "--out", "odd-again")
    assert result.exit_code == 2
    assert said in result.output.splitlines()[-1]
    assert "to make" not in result.output
    assert not Path("odd-again").exists()


def test_guidance_as_a_number_is_the_scale() -> None:
    call("run", "classes.yaml")
    system = ldmkit.build("classes.yaml")
    number = system.sample(fields={"label": "red"}, guidance=3.0)[0]
    written = system.sample(fields={"label": "red"}, guidance=[{"name": "classifier-free", "scale": 3.0}])[0]
    assert np.asarray(number).tolist() == np.asarray(written).tolist()
    with pytest.raises(UserError, match="0 of the recipe's guidance components have a scale"):
        ldmkit.build("plain.yaml").sample(guidance=3)


def test_a_file_that_changed_or_is_gone_is_named_and_may_have_moved() -> None:
    Image.open("map-1.png").save("mine.png")
    fields = ["--input", "segmentation=mine.png", "--input", "label=red"]
    (made,) = drawn("run", "both.yaml", *fields, out="files")
    Path("mine.png").rename("moved.png")
    gone = call("sample", "both.yaml", "--again", str(made), "--out", "files-again")
    assert (gone.exit_code, gone.output.splitlines()[-1]) == (
        2,
        "error: segmentation: mine.png is gone; say where it is with --input segmentation=PATH",
    )
    moved = ["--input", "segmentation=moved.png"]
    (again,) = drawn("sample", "both.yaml", "--again", str(made), *moved, out="files-again")
    assert np.abs(pixels(again) - pixels(made)).max() <= 1
    Image.open("map-2.png").save("mine.png")
    changed = call("sample", "both.yaml", "--again", str(made), "--out", "files-again")
    assert changed.exit_code == 2
    assert "segmentation: mine.png has changed since" in changed.output


def test_other_weights_do_not_make_a_picture_again() -> None:
    (made,) = drawn("run", "plain.yaml", "--seed", "8", out="old")
    call("run", "plain.yaml", "--retrain", "-s", "train.diffusion.lr=0.9")
    about = read_about(made)
    from ldmkit.pictures.png import save_picture

    save_picture(Image.open(made), Path("other.png"), {**about, "weights": "0" * 64})
    result = call("sample", "plain.yaml", "--again", "other.png", "--out", "old-again")
    assert result.exit_code == 2
    assert "was made with weights 000000000000" in result.output


def test_inputs_beside_again_are_refused() -> None:
    (made,) = drawn("run", "plain.yaml", out="beside")
    result = call("sample", "plain.yaml", "--again", str(made), "--seed", "3")
    assert result.exit_code == 2
    assert "leave out seed" in result.output


def test_a_missing_condition_is_its_null() -> None:
    call("run", "both.yaml", "--input", "label=red", "--input", "segmentation=map-1.png")
    system = ldmkit.build("both.yaml")
    conditions = system.condition({"label": [1, 0]}, size=(16, 16))
    null = system.null(conditions)
    assert list(conditions) == ["label", "segmentation"]
    assert torch.equal(conditions["segmentation"].concat, torch.zeros(2, 2, 16, 16))
    assert not torch.equal(conditions["label"].tokens, null["label"].tokens)
    only_map = system.condition({"segmentation": [Image.open("map-1.png")]})
    assert torch.equal(only_map["label"].tokens, system.null(only_map)["label"].tokens)


def test_null_on_the_command_line_leaves_a_condition_out() -> None:
    fields = ["--input", "label=null", "--input", "segmentation=map-4.png"]
    (made,) = drawn("run", "both.yaml", *fields, out="left-out")
    assert list(json.loads(read_about(made)["inputs"])) == ["segmentation"]


def test_a_condition_that_training_never_dropped_cannot_be_left_out() -> None:
    kept = {"segmentation": {**MAP["segmentation"], "dropout": 0}}
    system = ldmkit.build({**RECIPE, "conditioners": {**CLASSES, **kept}})
    with pytest.raises(UserError, match="'segmentation' cannot be left out: training never dropped it"):
        system.sample(fields={"label": [1]}, size=(16, 16))


def test_where_nothing_is_given_conditions_come_from_the_validation_split() -> None:
    stage = {**RECIPE["train"]["diffusion"], "picture_every": 1}
    write(Path(), "shown", conditioners={**CLASSES, **MAP}, train={"diffusion": stage})
    paths = drawn("run", "shown.yaml", out="shown")
    assert len(paths) >= 1
    assert list(Path("runs/shown").rglob("*.png")), "pictures appear while it trains"
    (again,) = drawn("sample", "shown.yaml", "--again", str(paths[0]), out="shown-again")
    assert np.abs(pixels(again) - pixels(paths[0])).max() <= 1


def test_what_cannot_be_shown_is_refused_before_training() -> None:
    write(Path(), "blind", guidance=[{"name": "known-region"}])
    result = call("run", "blind.yaml")
    assert result.exit_code == 2
    assert "the data lack mask" in result.output
    assert not list(Path("runs/blind").glob("*")) if Path("runs/blind").exists() else True


def test_a_start_keeps_the_picture_as_far_as_the_strength_lets_it() -> None:
    call("run", "plain.yaml")
    system, start = ldmkit.build("plain.yaml"), Image.open("pictures/2.png")
    pictures = [system.sample(init=start, strength=s, steps=20)[0] for s in (0.05, 0.5, 1.0)]
    own = pixels("pictures/2.png")
    distances = [np.abs(np.asarray(picture, dtype=int) - own).mean() for picture in pictures]
    assert distances[0] < distances[1] < distances[2]
    assert distances[0] < 15


def test_strength_is_a_share_of_the_levels() -> None:
    system = ldmkit.build("plain.yaml")
    levels = plans.plan(system, steps=10).levels(system, (16, 16))
    for strength, steps in ((1.0, 10), (0.6, 6), (0.25, 2), (0.01, 1)):
        left = sampling.last_levels(levels, strength)
        assert len(left) == steps + 1
        assert torch.equal(left.time, levels.time[-steps - 1 :])


def test_a_start_is_cut_to_the_size_that_is_asked_for() -> None:
    Image.new("RGB", (64, 32), (0, 90, 200)).save("wide.png")
    start = ["--init", "wide.png", "--strength", "0.3"]
    (made,) = drawn("run", "plain.yaml", *start, "--size", "16x24", out="start")
    about = read_about(made)
    assert pixels(made).shape == (16, 24, 3)
    assert (json.loads(about["init"])["file"], about["strength"]) == ("wide.png", "0.3")
    (again,) = drawn("sample", "plain.yaml", "--again", str(made), out="start-again")
    assert np.abs(pixels(again) - pixels(made)).max() <= 1


def test_an_interrupted_call_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    call("run", "plain.yaml")
    whole = drawn("sample", "plain.yaml", "--count", "6", "--batch", "2", out="whole")
    seen, decode = [], sampling.to_pictures

    def interrupt(image: torch.Tensor) -> list[Image.Image]:
        seen.append(len(image))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return decode(image)

    monkeypatch.setattr(sampling, "to_pictures", interrupt)
    assert call("sample", "plain.yaml", "--count", "6", "--batch", "2", "--out", "cut").exit_code == 130
    assert len(list(Path("cut").glob("0*.png"))) == 4
    monkeypatch.setattr(sampling, "to_pictures", to_pictures)
    result = call("sample", "plain.yaml", "--count", "6", "--batch", "2", "--out", "cut")
    assert "samples: 4 reused, 2 to make" in result.output
    finished = sorted(Path("cut").glob("0*.png"))
    assert [p.name for p in finished] == [p.name for p in whole]
    assert all(np.abs(pixels(a) - pixels(b)).max() <= 1 for a, b in zip(finished, whole, strict=True))


@pytest.mark.parametrize(
    ("recipe", "arguments", "said"),
    [
        ("classes", ["--input", "label=bleu"], "label: no class 'bleu'; did you mean 'blue'?"),
        ("classes", ["--input", "label=7"], "label: expects class ids from 0 to 2"),
        ("classes", ["--input", "lable=red"], "does not read the condition field(s) lable; it reads: label"),
        ("classes", ["--input", "label"], "expects FIELD=VALUE"),
        ("classes", ["--input", "label=[1"], "is no JSON"),
        ("both", ["--input", "segmentation=mask.png"], "segmentation: expects maps of class ids 0 to 2"),
        ("both", ["--input", "segmentation=none.png", "--input", "label=red"], "none.png: no such file"),
        ("plain", ["--prompt", " "], "--prompt: is empty"),
        ("plain", ["--prompt", "a fox"], "does not read the condition field(s) caption; it reads: none"),
        ("plain", ["--init", "none.png"], "none.png: no such file"),
        ("plain", ["--strength", "0"], "strength 0.0: expects a number above 0, up to 1"),
        ("plain", ["--guidance", "3"], "0 of the recipe's guidance components have a scale"),
        ("plain", ["--size", "big"], "'big' is no size"),
        ("plain", ["--size", "1000000x1000000"], "of memory"),
        ("plain", ["--negative", "grey"], "a negative prompt needs a recipe with captions"),
    ],
)
def test_a_bad_input_is_one_line_before_any_training(
    recipe: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    result = call("run", f"{recipe}.yaml", *arguments, "--runs", str(tmp_path / "runs"))
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())
    assert not list((tmp_path / "runs").rglob("*.safetensors"))


def test_prompts_files_of_any_editor_are_read_and_empty_ones_refused(tmp_path: Path) -> None:
    from ldmkit.cli.options import all_prompts

    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffa fox\r\n\r\n a\u2028cat \n".encode())
    assert all_prompts((), file) == ["a fox", "a\u2028cat"]
    file.write_text("\n  \n")
    with pytest.raises(UserError, match="holds no prompt"):
        all_prompts(("one",), file)


def test_lists_of_different_lengths_are_refused_and_single_values_shared() -> None:
    system = ldmkit.build("both.yaml")
    maps = [np.asarray(Image.open(f"map-{i}.png")) for i in range(3)]
    with pytest.raises(UserError, match="fields differ in length"):
        system.sample(fields={"label": [0, 1], "segmentation": maps})
    assert len(system.sample(fields={"label": "red", "segmentation": maps}, steps=1)) == 3


def test_an_input_whose_digest_the_file_lacks_counts_as_changed() -> None:
    call("run", "classes.yaml")
    system = ldmkit.build("classes.yaml")
    about = {"seed": "1", "inputs": '{"label": {"file": "mask.png"}}'}
    with pytest.raises(UserError, match=r"label: mask\.png has changed since the picture was made"):
        records.read(system, about, Path("one.png"), {})
