"""Conditions from the data, where neither the command line nor the recipe gives any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ldmkit.engine.data import aligned, field_kinds, reading
from ldmkit.engine.requests import Inputs
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset

SPLIT = "validation"
SHOWN = 8
"""How many examples are taken where no count is given."""


def inputs(
    system: System, fields: Sequence[str], given: Inputs, count: int | None
) -> tuple[Inputs, list[int]]:
    """The first `count` validation examples as inputs, each with a seed, and their places in the split.

    Raises UserError where there is no data, or it lacks a field: nothing could be shown.
    """
    data = validation(system, fields)
    chosen = list(range(min(count or SHOWN, len(data))))
    first = given.seeds[0]
    raw = raw_of([data[i] for i in chosen], fields)
    return replace(given, raw=raw, seeds=[first + i for i in chosen]), chosen


def validation(system: System, fields: Sequence[str]) -> Dataset:
    """The validation split; UserError where it cannot give the fields."""
    needs = f"recipe '{system.recipe.name}' reads {', '.join(fields)}: give"
    prompt = system.prompt_field
    options = " ".join("--prompt ..." if f == prompt else f"--input {f}=..." for f in fields)
    if system.recipe.data is None:
        raise UserError(f"{needs} {options}, or sample.fields; there is no data to take them from")
    try:
        data = system.dataset()
    except UserError as error:
        raise UserError(f"{error}; without data, {needs} {options}, or sample.fields") from error
    try:
        data = reading(data, fields)
        if guided := {f: kind for f, kind in system.guided_kinds.items() if f != "image"}:
            data = aligned(data, {**guided, **field_kinds(system.named_conditioners())})
    except UserError as error:
        raise UserError(f"{needs} {options}, or sample.fields; {error}") from error
    if missing := [f for f in fields if f != "image" and f not in data.fields]:
        there = ", ".join(data.fields) or "no fields"
        raise UserError(f"{needs} {options}, or sample.fields; the data lack {', '.join(missing)}: {there}")
    return data.split(SPLIT)


def raw_of(examples: Sequence[Mapping[str, Any]], fields: Sequence[str]) -> dict[str, list[Any]]:
    """Raw inputs by field, an entry an example."""
    return {f: [example[f] for example in examples] for f in fields}
