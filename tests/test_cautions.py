"""What a recipe combines although its pictures then miss what it was trained for is told in a line."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from small_recipes import PIXELS, UNET
from training_toy import toy

import ldmkit
from ldmkit.errors import Note, UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.verbs.check import inspect, try_out

ZERO = {"schedule": {"name": "scaled-linear", "zero_snr": True}, "objective": {"name": "v"}}
TEXT = {"name": "text-transformer", "width": 32, "layers": 1, "length": 8}
LABEL = {"name": "class-embedding", "classes": 3, "width": 32}
MAP = {"name": "spatial-rescaler", "classes": 3, "channels": 2, "stages": 0}
GUIDED = {
    "denoiser": {**UNET, "attention": [1]},
    "guidance": [{"name": "classifier-free", "scale": 2}],
    "train": {"diffusion": {"steps": 2, "batch": 2, "lr": 1e-3}},
}


def notes(**changes: Any) -> list[str]:
    """What `check` notes of a recipe on pixels with these changes, and drawing with it as well."""
    recipe = {**PIXELS, "name": "noted", "sampler": {"name": "ddim", "steps": 4}, **changes}
    recipe["sample"] = {"size": [8, 8], **recipe.get("sample", {})}
    registry = host().registry
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try_out(inspect(resolve(load(recipe, (), registry), registry), registry), any_size=True)
        checked = [str(w.message) for w in caught if issubclass(w.category, Note)]
        caught.clear()
        system = ldmkit.build(recipe)
        raw = {"caption": "a", "label": 1, "segmentation": [[[0] * 8] * 8]}
        fields = {f: raw[f] for _, c in system.named_conditioners() for f in c.spec.fields}
        system.sample(fields=fields, size=None if "segmentation" in fields else (8, 8))
        assert [str(w.message) for w in caught if issubclass(w.category, Note)] == checked
    return checked


@pytest.mark.parametrize(("spacing", "first"), [("leading", 751), ("quadratic", 801)])
def test_noise_alone_at_a_level_that_is_none_is_told(spacing: str, first: int) -> None:
    beta = np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2
    plain = np.sqrt(np.cumprod(1 - beta))
    alpha = ((plain - plain[-1]) * plain[0] / (plain[0] - plain[-1]))[first]
    (line,) = notes(**ZERO, sampler={"name": "ddim", "steps": 4, "spacing": spacing})
    assert f"sampler.spacing ({spacing}): the schedule ends in noise alone" in line
    assert f"alpha is {alpha:.3f}" in line


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "karras"])
def test_a_spacing_that_begins_in_noise_is_not(spacing: str) -> None:
    assert not notes(**ZERO, sampler={"name": "ddim", "steps": 4, "spacing": spacing})
    assert not notes(sampler={"name": "ddim", "steps": 4, "spacing": spacing})


@pytest.mark.parametrize(
    ("conditioners", "named"),
    [
        ({"caption": TEXT}, "caption"),
        ({"caption": {**TEXT, "dropout": 0.1}}, ""),
        ({"caption": {**TEXT, "dropout": 0.1}, "label": LABEL}, "label"),
        ({"caption": TEXT, "label": LABEL}, "caption and label"),
        ({"caption": {**TEXT, "dropout": 0.1}, "segmentation": MAP}, ""),
        ({"segmentation": MAP}, "segmentation"),
    ],
)
def test_guidance_away_from_conditions_that_training_never_drops_is_told(conditioners, named: str) -> None:
    lines = notes(**GUIDED, conditioners=conditioners)
    assert len(lines) == bool(named)
    assert all(f"null condition of {named}, which training never shows" in line for line in lines)
    assert not notes(**{**GUIDED, "guidance": [{"name": "clamp"}]}, conditioners=conditioners)
    assert not notes(
        **{**GUIDED, "guidance": [{"name": "classifier-free", "scale": 1}]}, conditioners=conditioners
    )


def test_a_field_that_nothing_reads_cannot_be_left_out() -> None:
    with pytest.raises(UserError, match=r"does not read the condition field\(s\) lable"):
        toy().sample(["a"], fields={"lable": None}, size=(16, 16))
