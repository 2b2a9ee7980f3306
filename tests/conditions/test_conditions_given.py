"""How conditions are given or left out: names, numbers, the null, the validation split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conditioned import CLASSES, MAP, RECIPE, UNET, call, drawn, pixels, write
from PIL import Image

import ldmkit
from ldmkit.cli import main
from ldmkit.cli.options import all_fields
from ldmkit.errors import UserError
from ldmkit.evaluation import Evaluation
from ldmkit.pictures.png import read_about
from ldmkit.recipe import Component
from ldmkit.verbs.arguments import PictureArguments
from ldmkit.verbs.run import recorded_inputs


def test_a_name_stands_for_its_number() -> None:
    call("run", "classes.yaml")
    system = ldmkit.build("classes.yaml")
    named, numbered = (system.sample(fields={"label": x}, seed=3)[0] for x in ("blue", 1))
    assert np.asarray(named).tolist() == np.asarray(numbered).tolist()


def test_guidance_as_a_number_is_the_scale() -> None:
    call("run", "classes.yaml")
    system = ldmkit.build("classes.yaml")
    number = system.sample(fields={"label": "red"}, guidance=3.0)[0]
    written = system.sample(fields={"label": "red"}, guidance=[{"name": "classifier-free", "scale": 3.0}])[0]
    assert np.asarray(number).tolist() == np.asarray(written).tolist()
    with pytest.raises(UserError, match="0 of the recipe's guidance components have a scale"):
        ldmkit.build("plain.yaml").sample(guidance=3)


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


def test_null_in_a_recipe_leaves_a_condition_out_until_it_is_given() -> None:
    alone = ["-s", "sample.fields={label: null, segmentation: [map-4.png]}"]
    (made,) = drawn("run", "both.yaml", *alone, out="alone")
    assert list(json.loads(read_about(made)["inputs"])) == ["segmentation"]
    (other,) = drawn("run", "both.yaml", "--input", "label=null", *alone, out="said-twice")
    assert pixels(made).tolist() == pixels(other).tolist()
    (named,) = drawn("run", "both.yaml", *alone, "--input", "label=red", out="given-after-all")
    assert sorted(json.loads(read_about(named)["inputs"])) == ["label", "segmentation"]


def test_what_a_recipe_leaves_out_is_not_taken_from_the_data() -> None:
    made = drawn("run", "both.yaml", "-s", "sample.fields.label=null", out="maps-of-the-data")
    assert {tuple(json.loads(read_about(p)["inputs"])) for p in made} == {("segmentation",)}
    left = ldmkit.build({**RECIPE, "conditioners": {**CLASSES, **MAP}, "sample": {"fields": {"label": None}}})
    metric = Evaluation(left, Component(name="frechet"))
    assert metric.condition_fields == ("segmentation",)
    assert list(metric.conditions(metric.data("train"), [0, 1])) == ["segmentation"]


def test_a_recipe_cannot_leave_out_what_nothing_reads() -> None:
    result = CliRunner().invoke(main, ["run", "plain.yaml", "-s", "sample.fields.label=null"])
    assert result.exit_code == 2
    assert "label" in result.stderr


def test_a_condition_that_training_never_dropped_cannot_be_left_out() -> None:
    kept = {"segmentation": {**MAP["segmentation"], "dropout": 0}}
    system = ldmkit.build({**RECIPE, "conditioners": {**CLASSES, **kept}})
    with pytest.raises(UserError, match="'segmentation' cannot be left out, since training never drops it"):
        system.sample(fields={"label": [1]}, size=(16, 16))


def test_where_nothing_is_given_conditions_come_from_the_validation_split() -> None:
    stage = {**RECIPE["train"]["diffusion"], "picture_every": 1}
    write(Path(), "shown", conditioners={**CLASSES, **MAP}, train={"diffusion": stage})
    paths = drawn("run", "shown.yaml", out="shown")
    assert len(paths) >= 1
    assert list(Path("runs/shown").rglob("*.png")), "pictures appear while it trains"
    (again,) = drawn("sample", "shown.yaml", "--again", str(paths[0]), out="shown-again")
    assert np.abs(pixels(again) - pixels(paths[0])).max() <= 1


def test_what_is_left_out_is_not_taken_from_the_validation_split() -> None:
    system = ldmkit.build("both.yaml")
    inputs = recorded_inputs(system, PictureArguments(fields={"label": None}, count=1)).inputs
    assert list(inputs.raw) == ["segmentation"]


def test_what_cannot_be_shown_is_refused_before_training() -> None:
    write(Path(), "blind", guidance=[{"name": "known-region"}])
    result = call("run", "blind.yaml")
    assert result.exit_code == 2
    assert "the data lack mask" in result.output
    assert not list(Path("runs/blind").glob("*")) if Path("runs/blind").exists() else True


def test_lists_of_different_lengths_are_refused_and_single_values_shared() -> None:
    system = ldmkit.build("both.yaml")
    maps = [np.asarray(Image.open(f"map-{i}.png")) for i in range(3)]
    with pytest.raises(UserError, match="fields differ in length"):
        system.sample(fields={"label": [0, 1], "segmentation": maps})
    assert len(system.sample(fields={"label": "red", "segmentation": maps}, steps=1)) == 3


def test_a_number_is_a_text_where_texts_are_read() -> None:
    """For each: what stands on the command line, and what the conditioner and the class are given."""
    words = {"name": "text-transformer", "field": "title", "width": 16, "layers": 1, "heads": 1, "length": 8}
    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build({**RECIPE, "conditioners": {**CLASSES, "words": {**words, "dropout": 0.1}}})
    for written, text in (
        ("2024", "2024"),
        ("[sic", "[sic"),
        ("true", "true"),
        ('"7"', "7"),
        ("a fox", "a fox"),
    ):
        asked = PictureArguments(fields=all_fields((f"title={written}", "label=1")))
        made = recorded_inputs(system, asked)
        assert made.inputs.raw == {"title": [text], "label": [1]}
        assert json.loads(made.records[0]["inputs"])["label"] == 1
    asked = PictureArguments(fields=all_fields(("title=null", "label=1")))
    assert "title" not in recorded_inputs(system, asked).inputs.raw


def test_a_picture_of_a_single_pixel_is_that_of_a_batch() -> None:
    """A norm over one number a group: the network then sees its own biases, whatever the batch."""
    call("run", "plain.yaml")
    system = ldmkit.build("plain.yaml")
    alone = [np.asarray(system.sample(size=(1, 1), seed=seed)[0]) for seed in (3, 4)]
    together = system.sample(size=(1, 1), seeds=[3, 4])
    assert [picture.size for picture in together] == [(1, 1)] * 2
    assert [np.asarray(picture).tolist() for picture in together] == [pixel.tolist() for pixel in alone]
    with pytest.raises(UserError, match=r"size 2x3: denoiser \(unet\): latent size 2x3"):
        ldmkit.build({**RECIPE, "denoiser": {**UNET, "multipliers": [1, 2]}}).sample(size=(2, 3))


def test_a_number_given_for_a_text_that_guidance_reads_is_its_text() -> None:
    guided = "guidance=[{name: clip, field: words, scale: 3, cutouts: 0}]"
    (made,) = drawn("run", "plain.yaml", "-s", guided, "--input", "words=2024", out="words")
    assert json.loads(read_about(made)["inputs"]) == {"words": "2024"}
    system = ldmkit.build("plain.yaml", [guided])
    (own,) = system.sample(fields={"words": "2024"}, seed=0)
    assert np.abs(pixels(made) - np.asarray(own, int)).max() <= 1
    (again,) = drawn("sample", "plain.yaml", "--again", str(made), out="words-again")
    assert np.abs(pixels(again) - pixels(made)).max() <= 1
    (quoted,) = drawn("sample", "plain.yaml", "-s", guided, "--input", "words=a.png", out="words-file")
    assert json.loads(read_about(quoted)["inputs"]) == {"words": "a.png"}


def test_masks_of_the_data_that_guidance_reads_are_cut_as_the_pictures_are() -> None:
    """Of pictures twice as wide as high, the middle: the hole, in the left quarter, is cut away but for
    nothing, and all of the picture is known."""
    folder = Path("wide")
    folder.mkdir()
    lines = []
    for i in range(4):
        pixel = np.random.default_rng(i).integers(0, 255, (16, 32, 3), dtype=np.uint8)
        Image.fromarray(pixel).save(folder / f"{i}.png")
        hole = np.zeros((16, 32), np.uint8)
        hole[:, :8] = 255
        Image.fromarray(hole).save(folder / f"hole-{i}.png")
        lines.append({"file_name": f"{i}.png", "mask": f"hole-{i}.png"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {"name": "image-folder", "path": "wide", "size": 16}
    write(Path(), "cut", data=data, guidance=[{"name": "known-region"}])
    (made,) = drawn("run", "cut.yaml", "--count", "1", out="cut")
    validation = ldmkit.build("cut.yaml").dataset().split("validation")
    assert pixels(made).tolist() == validation[0]["image"].permute(1, 2, 0).tolist()
