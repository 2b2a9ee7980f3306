"""The shipped weights: found, whole, fitting, and refused when damaged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ldmkit.engine.system import assemble
from ldmkit.engine.weights import find_weights, load_stage, shipped, stage_name, stages_of
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import load, resolve

ROOT = Path(__file__).parents[3]
WEIGHTS = ROOT / "plugins/ldmkit-zoo/src/ldmkit_zoo/weights"
SHIPPED = sorted(
    {entry["file"].rsplit("-", 1)[0] for entry in json.loads((WEIGHTS / "index.json").read_text()).values()}
)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_needs_no_training(name: str, tmp_path: Path) -> None:
    registry = host().registry
    recipe = resolve(load(ROOT / "recipes" / f"{name}.yaml"), registry)
    system = assemble(recipe, registry)
    for stage in stages_of(recipe):
        path = find_weights(recipe, registry, stage, tmp_path)
        assert path is not None, (
            f"the {stage} stage of {name} is not shipped under {stage_name(recipe, stage)}"
        )
        load_stage(system, stage, path)


def test_the_repository_stays_small() -> None:
    sizes = [path.stat().st_size for path in WEIGHTS.glob("*.safetensors")]
    assert sizes
    assert max(sizes) <= 20e6


def registry_with(target: str) -> Registry:
    registry = Registry()
    registry.add(Entry("weights", "diffusion-0", target, "Made up.", "madeup", "1"))
    return registry


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "madeup_weights").mkdir()
    (tmp_path / "madeup_weights/__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "madeup_weights/a.safetensors").write_bytes(b"cut short")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="is damaged; reinstall it"):
        shipped(registry_with("madeup_weights/a.safetensors#sha256=00"), "diffusion-0")
    assert "madeup_weights" not in sys.modules


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"b\.safetensors is missing; reinstall it"):
        shipped(registry_with("ldmkit_zoo/b.safetensors#sha256=00"), "diffusion-0")
