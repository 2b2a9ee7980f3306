"""Recipes on a page: which values differ from their defaults, and in which values several recipes differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ldmkit.errors import UserError
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.host.registry import Registry
from ldmkit.recipe import Component, load
from ldmkit.recipe.components import Part
from ldmkit.recipe.dump import flat, leaves
from ldmkit.recipe.names import defaults
from ldmkit.recipe.slots import Visit, replace_components
from ldmkit.recipe.sources import Place
from ldmkit.recipe.yaml import read_file


def chosen(path: Path) -> dict[str, Any] | None:
    """The values of a run's recipe that differ from their defaults, by dotted path.

    None where the recipe cannot be read today, for example because it names a component that is not
    installed.
    """
    try:
        registry = host().registry
        recipe = load(path, registry=registry)
        usual = dict(leaves(_plain(vars(defaults(registry))), whole=True))
        own = leaves(_without_defaults(replace_components(recipe, _visitor(registry))), whole=True)
        return {name: value for name, value in own if usual.get(name) != value}
    except UserError:
        return None


def problem(path: Path) -> str | None:
    """Why a run's recipe cannot be read today; None where it can."""
    try:
        load(path, registry=host().registry)
    except UserError as error:
        return str(error)
    return None


def spelled(value: Any) -> str:
    """A value as a recipe spells it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def differences(paths: Mapping[str, Path]) -> list[tuple[str, list[str]]]:
    """(dotted path, the value in each recipe) for every value that is not the same in all of them."""
    recipes = [dict(leaves(_values(path), whole=True)) for path in paths.values()]
    names = dict.fromkeys(name for recipe in recipes for name in recipe)
    rows = [(name, [spelled(recipe.get(name, "")) for recipe in recipes]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _values(path: Path) -> Any:
    try:
        return read_file(path)[0]
    except UserError:
        return {}


def _visitor(registry: Registry) -> Visit:
    def visit(path: Place, kind: str, component: Component) -> Component:
        """The component without the parameters whose value is the default."""
        fields = parameters_of(registry.get(kind, component.name)).model.model_fields
        values = component.parameters
        kept = {k: v for k, v in values.items() if k not in fields or not _is_default(fields[k], v)}
        return component.model_copy(update={"parameters": kept})

    return visit


def _without_defaults(part: Part) -> dict[str, Any]:
    """A part of a recipe as plain values, without fields that have their default."""
    values: dict[str, Any] = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if name == "parameters":
            values |= {key: flat(one) for key, one in value.items()}
        elif not _is_default(field, value):
            values[name] = _plain(value)
    return values


def _is_default(field: FieldInfo, value: Any) -> bool:
    return not field.is_required() and flat(field.get_default(call_default_factory=True)) == flat(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return _without_defaults(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    return flat(value)
