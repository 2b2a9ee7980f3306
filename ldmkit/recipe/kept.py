"""The recipe that weights keep beside them, and the `compression` that a recipe on them need not repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ldmkit.host.registry import Registry
from ldmkit.recipe.named import recipe_file
from ldmkit.recipe.problems import Problem
from ldmkit.recipe.sources import Source
from ldmkit.recipe.weights import Hub
from ldmkit.recipe.yaml import read_file

RECIPE = "recipe.yaml"
SECTION = "compression"
MISSING = f"'{SECTION}' is missing"
Download = Callable[[Hub], Path]
"""Gives the folder of a model on the hub, fetched where it is not on this machine."""


def stage_file(folder: Path, stage: str) -> Path | None:
    """A stage's file in a folder of weights, else that of its newest finished training below; None without
    any."""
    path = folder / f"{stage}.safetensors"
    trainings = folder.glob(f"{stage}-*/{stage}.safetensors")
    return path if path.is_file() else max(trainings, key=lambda one: one.stat().st_mtime, default=None)


def with_compression(
    values: Any, source: Source, registry: Registry, download: Download | None = None
) -> Any:
    """The values of a recipe; one without `compression` gets that of the recipe kept beside its `weights`,
    and `source` gets the places of the added values.

    Relative paths in the section start at a package's folder where the recipe is a package's, which holds
    what they name, else at the folder of the recipe that gets the section. A model on the hub is read
    from the hub's cache on this machine; `download` fetches one that is not there. Raises UserError for a
    kept recipe that cannot be read.
    """
    lacking = isinstance(values, Mapping) and SECTION not in values
    path = _recipe(values, source, registry, download) if lacking else None
    kept, places = (None, Source()) if path is None else read_file(path)
    if path is None or not isinstance(kept, Mapping) or SECTION not in kept:
        return values
    if kept.get("weights") == ".":
        named = values["weights"]
        beside = isinstance(named, str) and path.parent == source.located(named)
        source.folders[SECTION,] = Path(named) if beside else path.parent.absolute()
    for own, theirs in ((source.keys, places.keys), (source.values, places.values)):
        own.update({place: where for place, where in theirs.items() if place[:1] == (SECTION,)})
    return {**values, SECTION: kept[SECTION]}


def explained(problems: Sequence[Problem], values: Any, source: Source, registry: Registry) -> list[Problem]:
    """A recipe's problems; a missing `compression` that `weights` should have given is explained."""
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
    hub = _hub(named)
    if hub is not None and _cached(hub) is None:
        return (
            f"no recipe.yaml of {hub.hub} at {hub.revision[:12]} is on this machine to say the "
            f"`compression`: fetch it with `hf download {hub.hub} --revision {hub.revision}`, or write "
            "that section"
        )
    return "no recipe.yaml beside them says the `compression`: write that section"


def _recipe(
    values: Mapping[str, Any], source: Source, registry: Registry, download: Download | None
) -> Path | None:
    """The recipe's file beside the first stage that `weights` name, else beside the second; None where there
    is none."""
    named = values.get("weights")
    if (hub := _hub(named)) is not None:
        return _of_hub(hub, download)
    if isinstance(named, Mapping):
        shipped = registry.find("weights", str(named.get("recipe")))
        return None if shipped is None else recipe_file(shipped, RECIPE)
    if not isinstance(named, str):
        return None
    files = [stage_file(source.located(named), stage) for stage in (SECTION, "diffusion")]
    recipes = [file.parent / RECIPE for file in files if file is not None]
    return next((path for path in recipes if path.is_file()), None)


def _hub(named: Any) -> Hub | None:
    """The model on the hub that `weights` name; None for other weights, and for what pins no model: that is
    told with the recipe's other mistakes."""
    try:
        return Hub.model_validate(named, strict=True)
    except ValidationError:
        return None


def _of_hub(hub: Hub, download: Download | None) -> Path | None:
    """The recipe's file of a model on the hub: the cached one, else one that `download` fetches."""
    cached = _cached(hub)
    if cached is not None or download is None:
        return cached
    path = download(hub) / RECIPE
    return path if path.is_file() else None


def _cached(hub: Hub) -> Path | None:
    """The recipe's file in the hub's cache on this machine; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    try:
        path = try_to_load_from_cache(hub.hub, RECIPE, revision=hub.revision)
    except ValueError:  # no name that the hub knows: its download says so
        return None
    return Path(path) if isinstance(path, str) else None
