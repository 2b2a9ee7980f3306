"""The recipe that weights keep beside them, and the `compression` that a recipe on them need not repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldmkit.host.registry import Registry
from ldmkit.recipe.named import packaged_file
from ldmkit.recipe.problems import Problem
from ldmkit.recipe.sources import Source
from ldmkit.recipe.yaml import read_file

RECIPE = "recipe.yaml"
SECTION = "compression"
MISSING = f"'{SECTION}' is missing"


def stage_file(folder: Path, stage: str) -> Path | None:
    """A stage's file in a folder of weights, else that of its newest finished training below; None without
    any."""
    path = folder / f"{stage}.safetensors"
    trainings = folder.glob(f"{stage}-*/{stage}.safetensors")
    return path if path.is_file() else max(trainings, key=lambda one: one.stat().st_mtime, default=None)


def with_compression(values: Any, source: Source, registry: Registry) -> Any:
    """The values of a recipe; one that names `weights` and says no `compression` gets that of the recipe kept
    beside them. `source` learns where it stands there.

    Relative paths in the section start at the folder of the recipe that gets it. Raises UserError for a kept
    recipe that cannot be read.
    """
    path = None if not isinstance(values, Mapping) or SECTION in values else _recipe(values, source, registry)
    kept, places = (None, Source()) if path is None else read_file(path)
    if not isinstance(kept, Mapping) or SECTION not in kept:
        return values
    for own, theirs in ((source.keys, places.keys), (source.values, places.values)):
        own.update({place: where for place, where in theirs.items() if place[:1] == (SECTION,)})
    return {**values, SECTION: kept[SECTION]}


def explained(problems: Sequence[Problem], values: Any, source: Source, registry: Registry) -> list[Problem]:
    """A recipe's problems; where `weights` should have said the `compression` that it lacks, why they did
    not, in the place of its absence."""
    if not isinstance(values, Mapping) or SECTION in values or values.get("weights") is None:
        return list(problems)
    others = [one for one in problems if one.message != MISSING]
    return [Problem(("weights",), _why(values["weights"], source, registry)), *others]


def _why(named: Any, source: Source, registry: Registry) -> str:
    shipped = str(named["recipe"]) if isinstance(named, Mapping) and "recipe" in named else None
    if shipped is not None and registry.find("weights", shipped) is None:
        return registry.missing("weights", shipped)
    if isinstance(named, str) and not source.located(named).is_dir():
        return f"no folder {source.located(named)}"
    return "no recipe.yaml beside them says the `compression`: write that section"


def _recipe(values: Mapping[str, Any], source: Source, registry: Registry) -> Path | None:
    """The recipe's file beside the first stage that `weights` name, else beside the second; None where there
    is none. A model on the hub is not asked."""
    named = values.get("weights")
    if isinstance(named, Mapping):
        shipped = registry.find("weights", str(named.get("recipe")))
        return None if shipped is None else packaged_file(shipped, RECIPE)
    if not isinstance(named, str):
        return None
    files = [stage_file(source.located(named), stage) for stage in (SECTION, "diffusion")]
    recipes = [file.parent / RECIPE for file in files if file is not None]
    return next((path for path in recipes if path.is_file()), None)
