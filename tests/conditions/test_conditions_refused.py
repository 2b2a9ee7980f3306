"""Bad inputs on the command line: one line before any training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from conditioned import MAP, UNET, call, write

import ldmkit
from ldmkit.errors import UserError


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
        ("holes", ["--input", "image=5", "--mask", "mask.png"], "image: 5 is no picture"),
        ("classes", ["--input", "label=null"], "recipe 'classes' needs the condition field(s) label"),
        (
            "both",
            ["--input", "segmentation=map-4.png", "--size", "8"],
            "size 8x8: condition 'segmentation' is for pictures of 16x16: leave the size out, or give",
        ),
        (
            "both",
            ["--input", "segmentation=pictures", "--input", "label=red"],
            "pictures: is a folder; name a picture in it",
        ),
        (
            "kept",
            ["--input", "segmentation=map-4.png"],
            "condition 'label' cannot be left out, since training",
        ),
        ("plain", ["--prompt", " "], "--prompt: is empty"),
        ("words", ["--input", 'caption=""'], "caption: is empty; say what to draw, or leave caption out"),
        ("words", ["-s", "sample.prompts=['']"], "caption: is empty"),
        ("words", ["-s", "sample.fields={caption: [a, ' ']}"], "caption: is empty"),
        ("plain", ["--prompt", "a fox"], "does not read the condition field(s) caption; it reads: none"),
        ("plain", ["--init", "none.png"], "none.png: no such file"),
        ("plain", ["--strength", "0"], "strength 0.0: expects a number above 0, up to 1"),
        ("plain", ["--guidance", "3"], "0 of the recipe's guidance components have a scale"),
        ("plain", ["--size", "big"], "'big' is no size"),
        ("plain", ["--size", "1000000x1000000"], "of memory"),
        (
            "levels",
            ["--size", "3"],
            "size 3x3: denoiser (unet): latent size 3x3: the UNet's levels need multi",
        ),
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


def test_inputs_that_a_training_could_not_show_are_refused_before_it(tmp_path: Path) -> None:
    shown = ("-s", "sample.fields={segmentation: [map-4.png]}", "--runs", str(tmp_path / "runs"))
    result = call("train", "kept.yaml", *shown)
    assert result.exit_code == 2, result.output
    assert "condition 'label' cannot be left out, since training never drops it" in result.output
    assert "data:" not in result.output
    assert not (tmp_path / "runs").exists()


def test_prompts_files_of_any_editor_are_read_and_empty_ones_refused(tmp_path: Path) -> None:
    from ldmkit.cli.options import all_prompts

    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffa fox\r\n\r\n a\u2028cat \n".encode())
    assert all_prompts((), file) == ["a fox", "a\u2028cat"]
    file.write_text("a cat", encoding="utf-16-le")
    with pytest.raises(UserError, match="null characters"):
        all_prompts((), file)
    file.write_text("\n  \n")
    with pytest.raises(UserError, match="holds no prompt"):
        all_prompts(("one",), file)


def test_a_size_that_a_map_contradicts_is_told_in_python_as_well() -> None:
    write(Path(), "sized", conditioners=MAP)
    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build("sized.yaml")
    conditions = system.condition({"segmentation": ["map-4.png"]})
    for draw in (
        lambda: system.sample(fields={"segmentation": "map-4.png"}, size=(8, 16)),
        lambda: system.sample_latent(conditions, size=(8, 16)),
    ):
        with pytest.raises(UserError, match="size 8x16: condition 'segmentation' is for pictures of 16x16"):
            draw()


def test_a_size_that_the_network_cannot_take_is_told_with_the_map_that_it_comes_from() -> None:
    write(Path(), "steps", conditioners=MAP, denoiser={**UNET, "multipliers": [1, 2]})
    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build("steps.yaml")
    with pytest.raises(UserError, match="size 16x15, that of condition 'segmentation': denoiser"):
        system.sample(fields={"segmentation": torch.zeros(1, 16, 15, dtype=torch.long)})


def test_a_folder_of_data_that_is_not_there_is_told_first(tmp_path: Path) -> None:
    options = ("-s", "data.path=absent", "--runs", str(tmp_path / "runs"))
    result = call("run", "classes.yaml", *options)
    assert result.exit_code == 2, result.output
    assert re.match(
        r"error: .*no folder .*absent .*; without data, recipe 'classes' reads label: give", result.output
    )
