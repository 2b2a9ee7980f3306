"""What an upgrade of a plugin leaves in place: runs, shipped weights, and the names of their folders."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import training_toy

from ldmkit.engine.adapters import find_adapter
from ldmkit.engine.weights import find_weights, shipped, stage_folder
from ldmkit.errors import Note, UserError
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe, digest, dump, load, resolve, same_stage

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

        parameters = sorted([*old.parameters.values(), new], key=lambda parameter: parameter.kind)
        gained.__signature__ = old.replace(parameters=parameters)
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


def test_an_adapter_is_found_again_after_the_first_stage_gained_a_parameter(tmp_path, add_parameter):
    style = "adapters={style: {name: toy, train: {steps: 2, batch: 4, lr: 0.5}}}"
    training_toy.train(tmp_path, *SHORT, style)
    (weights,) = tmp_path.rglob("style.safetensors")
    add_parameter(training_toy.Autoencoder)
    assert find_adapter(training_toy.toy(*SHORT, style), "style", tmp_path) == weights
    changed = style.replace("lr: 0.5", "lr: 0.25")
    assert find_adapter(training_toy.toy(*SHORT, changed), "style", tmp_path) is None


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
    stages = {"compression": ROOT / "recipes/first-stage.yaml", "diffusion": ROOT / "recipes/text2img.yaml"}
    recipes = {stage: resolve(load(path), registry) for stage, path in stages.items()}
    found = {stage: shipped(recipe, registry, stage) for stage, recipe in recipes.items()}
    assert None not in found.values()
    model = recipes["diffusion"]
    components = (recipes["compression"].compression, model.denoiser, model.schedule)
    for kind, component in zip(("compression", "denoiser", "schedule"), components, strict=True):
        add_parameter(registry.get(kind, component.name).load())
    upgraded = {stage: resolve(load(path), registry) for stage, path in stages.items()}
    assert upgraded["diffusion"].denoiser.parameters["gained"] == 1.0
    assert {stage: shipped(recipe, registry, stage) for stage, recipe in upgraded.items()} == found


def small(schedule: dict) -> dict:
    return {
        "recipe": 1,
        "name": "renamed",
        "compression": {"name": "identity"},
        "denoiser": {"name": "unet", "width": 32},
        "schedule": schedule,
    }


def test_a_former_name_means_the_same_and_is_told():
    registry = host().registry
    with pytest.warns(Note, match="schedule: 'linear-beta' is now called 'scaled-linear'"):
        old = resolve(load(small({"name": "linear-beta", "steps": 10})), registry)
    with pytest.warns(Note, match="schedule: 'sqrt-linear' is now called 'linear'"):
        other = resolve(load(small({"name": "sqrt-linear", "steps": 10})), registry)
    new = resolve(load(small({"name": "scaled-linear", "steps": 10})), registry)
    assert old == new
    assert old != other
    assert digest(old, "diffusion") == digest(new, "diffusion") != digest(other, "diffusion")


@pytest.mark.filterwarnings("error")
def test_what_was_trained_under_a_former_name_is_found(tmp_path):
    registry = host().registry
    kept = tmp_path / "recipe.yaml"
    new = resolve(load(small({"name": "scaled-linear", "steps": 10})), registry)
    kept.write_text(dump(new).replace("scaled-linear", "linear-beta"))
    assert "linear-beta" in kept.read_text()
    assert same_stage(kept, new, "diffusion", registry)
    kept.write_text(dump(new).replace("scaled-linear", "sqrt-linear"))
    assert not same_stage(kept, new, "diffusion", registry)
    # The shipped weights keep the names that they were trained under.
    shipped_recipe = ROOT / "plugins/ldmkit-zoo/src/ldmkit_zoo/weights/landscapes/recipe.yaml"
    assert "linear-beta" in shipped_recipe.read_text()
    recipe = resolve(load(ROOT / "recipes/landscapes.yaml"), registry)
    assert "linear-beta" not in (ROOT / "recipes/landscapes.yaml").read_text()
    assert shipped(recipe, registry, "diffusion") is not None


def renamed_toy() -> Registry:
    """The toy plugin's next version: its autoencoder, a loss and a parameter are called otherwise."""
    registry = Registry()
    for entry in training_toy.registry():
        if (entry.kind, entry.name) == ("compression", "toy"):
            entry = replace(entry, name="plaything", former=("toy",), renamed=(("drop", "dropout"),))
        if (entry.kind, entry.name) == ("loss", "toy"):
            entry = replace(entry, name="l1", former=("toy",))
        registry.add(entry)
    return registry


def test_a_run_is_found_after_its_components_and_parameters_were_renamed(tmp_path):
    training_toy.train(tmp_path, *SHORT)
    for kept in (tmp_path / "toy").glob("*/recipe.yaml"):
        kept.write_text(kept.read_text().replace("dropout: 0.1", "drop: 0.1"))
    registry = renamed_toy()
    with pytest.warns(Note, match="loss.0: 'toy' is now called 'l1'"):
        recipe = resolve(load(training_toy.RECIPE, [*SHORT, "compression.drop=0.1"], registry), registry)
    assert (recipe.compression.name, recipe.compression.parameters["dropout"]) == ("plaything", 0.1)
    for stage in ("compression", "diffusion"):
        assert find_weights(recipe, registry, stage, tmp_path) is not None
    other = resolve(load(training_toy.RECIPE, [*SHORT, "compression.drop=0.2"], registry), registry)
    assert find_weights(other, registry, "compression", tmp_path) is None


def test_a_parameter_under_both_of_its_names_is_refused():
    registry = renamed_toy()
    recipe = load(training_toy.RECIPE, ["compression.drop=0.1", "compression.dropout=0.1"], registry)
    with pytest.raises(UserError, match=r"compression \(plaything\): 'drop' is the former name of 'dropout'"):
        resolve(recipe, registry)
