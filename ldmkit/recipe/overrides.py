"""`path=value` changes to a recipe's plain values, before its one validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldmkit.errors import UserError
from ldmkit.recipe.components import Component, Part
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.sources import Place, Source
from ldmkit.recipe.yaml import read_text


def apply_overrides(values: Any, overrides: Sequence[str], source: Source, defaults: Recipe) -> Any:
    """The values with each change made; `source` learns where the changed ones came from.

    A path is keys and list indices joined by dots (`guidance.0.scale`); the value is read as YAML. Mappings
    on the way are made where they are missing, components with the name that they have in `defaults`.
    UserError names the override that cannot be applied.
    """
    for override in overrides:
        label = f"command line: -s {override}"
        dotted, equals, text = override.partition("=")
        path = dotted.split(".")
        if not equals or not all(path):
            raise UserError(f"{label}: should be path=value, as sampler.steps=20")
        value, read = read_text(text, label, positions=False)
        try:
            values, place = _changed(values, path, value, defaults)
        except LookupError as error:
            raise UserError(f"{label}: {error.args[0]}") from error
        _replace_places(source, place, read)
    return values


def _changed(
    values: Any, path: Sequence[str], value: Any, default: Any, done: Place = ()
) -> tuple[Any, Place]:
    """A copy with the value at `path` replaced, and the path with its indices as numbers.

    default: the recipe's value at this place where nothing is given.
    """
    if not path:
        return value, done
    head, rest = path[0], path[1:]
    if isinstance(values, tuple):
        i = _index(head, len(values), done)
        changed, place = _changed(values[i], rest, value, None, (*done, i))
        return (*values[:i], changed, *values[i + 1 :]), place
    if values is None and done and head.isdecimal():
        raise LookupError(f"{'.'.join(map(str, done))} has no item {head}: give the whole list, as [...]")
    if isinstance(values, str) and done:
        values = {"name": values}  # a component written as its bare name
    if not isinstance(values, Mapping | None):
        raise LookupError(f"{'.'.join(map(str, done))} is {values!r}: it has no '{head}'")
    inner = getattr(default, head, None) if isinstance(default, Part) else None
    held = dict(values or {})
    if head not in held and isinstance(inner, Component) and rest:
        held[head] = inner.name
    changed, place = _changed(held.get(head), rest, value, inner, (*done, head))
    return {**held, head: changed}, place


def _index(text: str, length: int, done: Place) -> int:
    if not text.isdecimal() or int(text) >= length:
        raise LookupError(f"{'.'.join(map(str, done))} is a list of {length}: it has no '{text}'")
    return int(text)


def _replace_places(source: Source, path: Place, read: Source) -> None:
    """Replaces the places under a path by the override's."""
    for places in (source.keys, source.values, source.folders):
        for old in [p for p in places if p[: len(path)] == path]:
            del places[old]
    for n in range(1, len(path) + 1):  # also for mappings made on the way
        source.keys.setdefault(path[:n], read.label)
    source.folders[path] = Path()
    source.values[path] = read.label  # an empty value has no place of its own
    source.keys.update({path + p: place for p, place in read.keys.items()})
    source.values.update({path + p: place for p, place in read.values.items()})
