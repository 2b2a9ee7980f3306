"""What a recipe says of its inputs: its data, the names of its classes, its prompts and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ldmkit
from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.pictures import SUFFIXES
from ldmkit_serve.controls import Facts


def facts_of(system: ldmkit.System) -> Facts:
    """What the controls need to know of the recipe and its data."""
    data = _data(system)
    side = 8 * system.compression.latent.factor
    size = system.size or (side, side)
    names = {**_names(system), **getattr(data, "class_names", {})}
    sample = system.recipe.sample
    return Facts(data, names, sample.prompts, size, sample.left_out)


def named_pictures(system: ldmkit.System) -> list[Path]:
    """The picture files that the recipe itself names as inputs."""
    sample = system.recipe.sample
    given = [value for values in sample.fields.values() for value in values or ()]
    named = [value for value in given if isinstance(value, str)]
    files = [system.recipe.located(value) for value in (*named, *([sample.init] if sample.init else ()))]
    return [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]


def _names(system: ldmkit.System) -> dict[str, Sequence[str]]:
    """What the recipe's conditioners call their classes, by field."""
    slots = system.recipe.conditioners
    names: dict[str, Sequence[str]] = {}
    for name, conditioner in system.named_conditioners():
        parameters = slots[name].parameters
        numbered = [f"class {i}" for i in range(parameters.get("classes") or 0)]
        if class_names := parameters.get("names") or numbered:
            names |= dict.fromkeys(conditioner.spec.fields, class_names)
    return names


def _data(system: ldmkit.System) -> Dataset | None:
    """The recipe's data set; None where the recipe has none or its files are not at hand."""
    if system.recipe.data is None:
        return None
    try:
        data: Dataset = build(system.registry, "data", system.recipe.data)
    except UserError:
        return None
    return data
