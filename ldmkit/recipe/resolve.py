"""The second check of a recipe: every component's parameters, nested ones too, with defaults filled in.

Imports the components that the recipe names, and with them torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_json

from ldmkit.errors import UserError
from ldmkit.host.parameters import Parameters, parameters_of
from ldmkit.host.registry import Registry
from ldmkit.recipe.dump import plain
from ldmkit.recipe.model import Component, Place, Recipe, Source
from ldmkit.recipe.problems import Problem, problems_of, refuse
from ldmkit.recipe.slots import replace_components

C = TypeVar("C", bound=Component)


def resolve(recipe: Recipe, registry: Registry) -> Recipe:
    """The recipe with every parameter checked and present. UserError holds a line for each problem."""
    problems: list[Problem] = []

    def visit(path: Place, kind: str, component: Component) -> Component:
        parameters = _resolved(registry, kind, component.name, component.parameters, path, problems)
        return component.model_copy(update={"parameters": parameters})

    resolved = replace_components(recipe, visit)
    refuse(problems, recipe.source)
    return resolved


def resolve_component(kind: str, component: C, registry: Registry) -> C:
    """One component outside a recipe, resolved likewise (its slot's own components too)."""
    problems: list[Problem] = []

    def visit(path: Place, inner: str, slot: Component) -> Component:
        parameters = _resolved(registry, inner, slot.name, slot.parameters, path, problems)
        return slot.model_copy(update={"parameters": parameters})

    made = replace_components(component, visit, (kind,))
    parameters = _resolved(registry, kind, made.name, made.parameters, (kind,), problems)
    refuse(problems, Source(label=""))
    return made.model_copy(update={"parameters": parameters})


def _resolved(
    registry: Registry, kind: str, name: str, given: Mapping[str, Any], path: Place, problems: list[Problem]
) -> dict[str, Any]:
    """The parameters as a recipe would hold them, complete; adds to `problems`."""
    try:
        declared = parameters_of(registry.get(kind, name))
    except UserError as error:
        problems.append(Problem(path, str(error)))
        return {}
    values = dict(plain(given))
    for key in [k for k in declared.nested if k in values]:
        values[key] = _nested(registry, declared, key, values[key], (*path, key), problems)
    try:
        checked = declared.model.model_validate_json(to_json(values))
    except ValidationError as error:
        keys: dict[Place, list[str]] = {(): list(declared.model.model_fields)}
        problems.extend(problems_of(error, values, path, keys, name))
        return {}
    dumped: dict[str, Any] = plain(checked.model_dump(mode="json"))
    return dumped


def _nested(
    registry: Registry, declared: Parameters, key: str, value: Any, path: Place, problems: list[Problem]
) -> Any:
    """A nested component, or a list of them, resolved; what is neither is left for the schema to refuse."""
    slot = declared.nested[key]
    if slot.many and isinstance(value, Sequence) and not isinstance(value, str):
        return [_nested_one(registry, slot.kind, v, (*path, i), problems) for i, v in enumerate(value)]
    return value if slot.many else _nested_one(registry, slot.kind, value, path, problems)


def _nested_one(registry: Registry, kind: str, value: Any, path: Place, problems: list[Problem]) -> Any:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        return value
    rest = {k: v for k, v in given.items() if k != "name"}
    return {"name": given["name"], **_resolved(registry, kind, given["name"], rest, path, problems)}
