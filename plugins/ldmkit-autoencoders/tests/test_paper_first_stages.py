"""Every first stage of the paper: its recipe is valid, its parameters number as published."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ldmkit.engine.components import build
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.types import LatentSpec

RECIPES = Path(__file__).parents[3] / "recipes" / "paper"
TABLE = {
    "kl-f4": (3, 4, 55.3),
    "kl-f8": (4, 8, 83.7),
    "kl-f16": (16, 16, 69.6),
    "kl-f32": (64, 32, 103.9),
    "vq-f4": (3, 4, 55.3),
    "vq-f4-noattn": (3, 4, 53.2),
    "vq-f8": (4, 8, 67.7),
    "vq-f8-n256": (4, 8, 67.7),
    "vq-f16": (8, 16, 69.6),
    "kl-f2": (2, 2, None),
    "vq-f2": (2, 2, None),
    "f1": (3, 1, 0.0),
}
"""Latent channels, factor, millions of parameters as published (None: no published figure)."""


@pytest.mark.parametrize("name", TABLE)
def test_size_and_parameters_are_the_published_ones(name):
    channels, factor, millions = TABLE[name]
    registry = host().registry
    recipe = resolve(load(RECIPES / f"first-stage-{name}.yaml", registry=registry), registry)
    with torch.device("meta"):
        model = build(registry, "compression", recipe.compression)
    assert model.latent == LatentSpec(channels, factor)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    if millions is not None:
        assert round(count, 1) == millions


def test_every_recipe_is_in_the_table():
    assert {p.stem.removeprefix("first-stage-") for p in RECIPES.glob("first-stage-*.yaml")} == set(TABLE)
