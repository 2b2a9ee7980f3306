"""Sampling that starts from a picture, and sampling that was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conditioned import call, drawn, pixels
from PIL import Image

import ldmkit
from ldmkit.engine import plans, sampling
from ldmkit.pictures import to_pictures
from ldmkit.pictures.png import read_about


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
