"""What an upgrade of a plugin leaves in place: runs, shipped weights, and the names of their folders."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path

import pytest

from ldmkit.engine.weights import find_weights, shipped, stage_folder
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.recipe import Recipe, digest, load, resolve

sys.path.insert(0, str(Path(__file__).parent))
import training_toy

ROOT = Path(__file__).parents[1]
SHORT = ["train.compression.steps=2", "train.diffusion.steps=2"]


@pytest.fixture
def add_parameter(monkeypatch):
    """Gives a component one more parameter, `gained`, as its next version might."""

    def add(component):
        before = component.__init__
        old = inspect.signature(before)
        new = inspect.Parameter("gained", inspect.Parameter.KEYWORD_ONLY, default=1.0, annotation="float")

        @functools.wraps(before)
        def gained(self, *args, gained=1.0, **parameters):
            before(self, *args, **parameters)

        gained.__signature__ = old.replace(parameters=[*old.parameters.values(), new])
        gained.__annotations__ = {**before.__annotations__, "gained": "float"}
        monkeypatch.setattr(component, "__init__", gained)
        parameters_of.cache_clear()

    yield add
    monkeypatch.undo()
    parameters_of.cache_clear()


def toy(*overrides: str) -> Recipe:
    registry = training_toy.registry()
    return resolve(load(training_toy.RECIPE, [*SHORT, *overrides], registry), registry)


def test_a_run_is_found_again_after_a_component_gained_a_parameter(tmp_path, add_parameter):
    training_toy.train(tmp_path, *SHORT)
    before = toy()
    add_parameter(training_toy.Autoencoder)
    after, registry = toy(), training_toy.registry()
    assert after.compression.parameters["gained"] == 1.0
    for stage in ("compression", "diffusion"):
        assert digest(after, stage) != digest(before, stage)
        found = find_weights(after, registry, stage, tmp_path)
        assert found is not None
        assert found.parent == stage_folder(before, registry, stage, tmp_path)
    changed = toy("compression.gained=2.0")
    assert find_weights(changed, registry, "compression", tmp_path) is None
    assert find_weights(changed, registry, "diffusion", tmp_path) is None


def test_an_unfinished_run_is_gone_on_with_after_an_upgrade(tmp_path, add_parameter):
    registry = training_toy.registry()
    folder = stage_folder(toy(), registry, "compression", tmp_path)
    training_toy.train(tmp_path, *SHORT, stages=["compression"])
    (folder / "compression.safetensors").unlink()
    add_parameter(training_toy.Autoencoder)
    assert stage_folder(toy(), registry, "compression", tmp_path) == folder
    said: list[str] = []
    training_toy.train(tmp_path, *SHORT, stages=["compression"], say=said.append)
    assert any("going on after step 2" in line for line in said)


def test_a_kept_recipe_that_cannot_be_read_is_another_run(tmp_path):
    training_toy.train(tmp_path, *SHORT, stages=["compression"])
    registry = training_toy.registry()
    (kept,) = (tmp_path / "toy").glob("compression-*/recipe.yaml")
    kept.write_text("][")
    other = toy("train.compression.lr=0.5")
    assert find_weights(other, registry, "compression", tmp_path) is None


def test_shipped_weights_are_found_again_after_their_component_gained_a_parameter(add_parameter):
    registry = host().registry
    recipe = resolve(load(ROOT / "recipes/text2img.yaml"), registry)
    found = {stage: shipped(recipe, registry, stage) for stage in ("compression", "diffusion")}
    assert None not in found.values()
    components = (recipe.compression, recipe.denoiser, recipe.schedule)
    for kind, component in zip(("compression", "denoiser", "schedule"), components, strict=True):
        add_parameter(registry.get(kind, component.name).load())
    upgraded = resolve(load(ROOT / "recipes/text2img.yaml"), registry)
    assert upgraded.denoiser.parameters["gained"] == 1.0
    assert {stage: shipped(upgraded, registry, stage) for stage in found} == found
