"""A picture and a mask: known pixels stay, the hole is filled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from conditioned import HOLES, call, drawn, pixels, write
from PIL import Image

import ldmkit
from ldmkit.pictures.png import read_about


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


def test_a_size_that_is_not_the_known_pictures_is_refused_before_there_are_weights() -> None:
    write(Path(), "unready", **HOLES)
    for verb in ("run", "sample"):
        result = call(verb, "unready.yaml", "--size", "32", "--out", "never")
        assert result.exit_code == 2
        assert result.output == (
            "error: guidance (known-region): image: a picture of 16x16, while 32x32 are sampled\n"
        )
    assert not Path("runs/unready").exists()


def test_of_several_known_pictures_each_is_looked_at_before_any_is_drawn() -> None:
    Image.new("RGB", (8, 16)).save("narrow.png")
    given = ["--input", "image=pictures/1.png", "--input", "image=narrow.png", "--mask", "mask.png"]
    call("run", "holes.yaml")
    result = call("sample", "holes.yaml", *given, "--batch", "1", "--out", "never")
    assert result.exit_code == 2
    assert "known-region" in result.output.splitlines()[-1]
    assert not Path("never").exists()
