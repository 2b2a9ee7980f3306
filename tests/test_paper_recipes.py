"""The paper's own configurations: they are valid, and their networks have the published sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldmkit.engine.counting import counts
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.verbs.check import inspect

PAPER = Path(__file__).parents[1] / "recipes" / "paper"
MILLIONS = {
    "celebahq": 274,
    "ffhq": 274,
    "lsun-bedrooms": 274,
    "lsun-churches": 295,
    "imagenet-f8": 395,
    "imagenet": 401,
    "text2img-large": 872,
    "text2img-cc": 404,
    "layout": 246,
    "semantic": 215,
    "super-resolution": 114,
    "inpainting": 387,
}
"""Parameters of each task's UNet, as published."""
FIRST_STAGES = {"vq-f4": 55.3, "vq-f4-noattn": 53.2, "vq-f8": 67.7, "kl-f8": 83.7}


def system_of(name):
    registry = host().registry
    return inspect(resolve(load(PAPER / f"{name}.yaml"), registry), registry)


def test_every_task_is_tested():
    assert {p.stem for p in PAPER.glob("*.yaml") if not p.stem.startswith("first-stage-")} == set(MILLIONS)


@pytest.mark.parametrize("name", MILLIONS)
def test_networks_have_the_published_sizes(name):
    system = system_of(name)
    found = {count.part: count.parameters for count in counts(system)}
    assert round(found["denoiser"] / 1e6) == MILLIONS[name]
    first = Path(system.recipe.weights).name
    # The published figure counts encoder and decoder with the 1x1 convolutions and the codebook, in millions.
    assert found["compression"] / 1e6 == pytest.approx(FIRST_STAGES[first], abs=0.1)


@pytest.mark.parametrize("name", MILLIONS)
def test_a_task_trains_on_the_first_stage_that_it_names(name):
    """A task and the recipe of its first stage describe the same network."""
    registry = host().registry
    recipe = resolve(load(PAPER / f"{name}.yaml"), registry)
    assert recipe.train.compression is None
    assert recipe.train.diffusion is not None
    first = PAPER / f"first-stage-{Path(recipe.weights).name}.yaml"
    assert resolve(load(first), registry).compression == recipe.compression
