"""The shipped weights: found, whole, fitting, and refused when damaged."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from ldmkit.engine.adapters import give_adapters, refuse_adapter
from ldmkit.engine.system import assemble
from ldmkit.engine.weights import find_weights, load_stage, shipped, stages_of
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import Recipe, load, resolve

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "plugins/ldmkit-zoo/src/ldmkit_zoo/weights"
SHIPPED = sorted(path.name for path in WEIGHTS.iterdir())


def recipe_of(name: str) -> Recipe:
    return resolve(load(ROOT / "recipes" / f"{name}.yaml"), host().registry)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_needs_no_training(name: str, tmp_path: Path) -> None:
    registry = host().registry
    recipe = recipe_of(name)
    system = assemble(recipe, registry)
    for stage in stages_of(recipe):
        path = find_weights(recipe, registry, stage, tmp_path)
        assert path is not None, f"the {stage} stage of {name} is not shipped with a recipe that is the same"
        load_stage(system, stage, path)
    told: list[str] = []
    give_adapters(system, tmp_path, without=refuse_adapter, say=told.append)
    assert [line.split(":")[0] for line in told] == [f"adapter {name}" for name in recipe.adapters]


def test_the_repository_stays_small() -> None:
    sizes = [path.stat().st_size for path in WEIGHTS.rglob("*.safetensors")]
    assert sizes
    assert max(sizes) <= 20e6


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Registry]:
    """A copy of text2img's weights in a package that must not be imported, and the registry with it."""
    package = tmp_path / "made_up_weights"
    shutil.copytree(WEIGHTS / "text2img", package / "text2img")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    for entry in host().registry:
        if entry.kind != "weights":
            registry.add(entry)
    registry.add(Entry("weights", "copy", "made_up_weights/text2img", "Made up.", "made-up", "1"))
    return package / "text2img", registry


def test_weights_are_found_without_importing_their_package(made_up: tuple[Path, Registry]) -> None:
    folder, registry = made_up
    found = shipped(recipe_of("text2img"), registry, "diffusion")
    assert found == folder / "diffusion.safetensors"
    assert "made_up_weights" not in sys.modules


def test_another_training_is_not_the_same(made_up: tuple[Path, Registry]) -> None:
    _, registry = made_up
    recipe = ROOT / "recipes/text2img.yaml"
    changed = resolve(load(recipe, ["train.diffusion.steps=9001"]), registry)
    assert shipped(changed, registry, "diffusion") is None
    sampled = resolve(load(recipe, ["sampler.steps=9"]), registry)
    assert shipped(sampled, registry, "diffusion") is not None


def test_what_does_not_determine_a_stage_may_be_out_of_date(made_up: tuple[Path, Registry]) -> None:
    folder, registry = made_up
    kept = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(kept.replace("name: frechet", "name: of-the-past"))
    assert shipped(recipe_of("text2img"), registry, "diffusion") is not None


def test_a_damaged_file_is_refused(made_up: tuple[Path, Registry]) -> None:
    folder, registry = made_up
    (folder / "diffusion.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"diffusion\.safetensors is not the recorded file.*made-up"):
        shipped(recipe_of("text2img"), registry, "diffusion")


def test_a_missing_file_is_named(made_up: tuple[Path, Registry]) -> None:
    folder, registry = made_up
    (folder / "diffusion.safetensors").unlink()
    with pytest.raises(UserError, match=r"diffusion\.safetensors: no such file; reinstall.*made-up"):
        shipped(recipe_of("text2img"), registry, "diffusion")


def test_a_folder_that_is_gone_is_a_warning(made_up: tuple[Path, Registry]) -> None:
    folder, registry = made_up
    shutil.rmtree(folder)
    with pytest.warns(UserWarning, match="weights 'copy' of made-up: no made_up_weights/text2img; reinstall"):
        assert shipped(recipe_of("text2img"), registry, "diffusion") is None
