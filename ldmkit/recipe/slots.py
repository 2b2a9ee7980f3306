"""The places of components in a recipe, with their kinds, read off the model's annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel

from ldmkit.recipe.components import Component, Kind, Part
from ldmkit.recipe.sources import Place

Visit = Callable[[Place, str, Component], Component]
P = TypeVar("P", bound=Part)


def replace_components(part: P, visit: Visit, path: Place = ()) -> P:
    """A copy of a part of a recipe, each component replaced by what `visit(path, kind, component)` gives."""
    changes = {}
    for name, field in type(part).model_fields.items():
        kind = next(_kinds([*field.metadata, field.annotation]), "")
        value = getattr(part, name, None)
        changed = _replaced(value, kind, visit, (*path, name))
        if changed is not value:
            changes[name] = changed
    return part.model_copy(update=changes) if changes else part


def _replaced(value: Any, kind: str, visit: Visit, path: Place) -> Any:
    if isinstance(value, Component):
        return visit(path, kind, replace_components(value, visit, path))
    if isinstance(value, Part):
        return replace_components(value, visit, path)
    if kind and isinstance(value, tuple):
        return tuple(_replaced(v, kind, visit, (*path, i)) for i, v in enumerate(value))
    if kind and isinstance(value, Mapping):
        return {k: _replaced(v, kind, visit, (*path, k)) for k, v in value.items()}
    return value


def _kinds(annotations: list[Any]) -> Iterator[str]:
    """The kinds marked anywhere in annotations."""
    for annotation in annotations:
        if isinstance(annotation, Kind):
            yield annotation.name
        elif not isinstance(annotation, type):
            yield from _kinds(list(get_args(annotation)))


def named_components(
    values: Any, model: type[BaseModel], path: Place = ()
) -> Iterator[tuple[Place, str, str, Any]]:
    """(path, kind, name, what is given) of the components in unchecked values, where readable."""
    if not isinstance(values, Mapping):
        return
    for key, field in model.model_fields.items():
        kind = next(_kinds([*field.metadata, field.annotation]), "")
        models = list(_models(field.annotation))
        if not kind:
            for inner in models:
                yield from named_components(values.get(key), inner, (*path, key))
            continue
        for place, name, value in _components_in(values.get(key), (*path, key), _by_id(field.annotation)):
            yield place, kind, name, value
            yield from named_components(value, models[0], place)


def _components_in(value: Any, path: Place, by_id: bool) -> Iterator[tuple[Place, str, Any]]:
    """The components of one field: itself, the entries of its list, or (`by_id`) of its mapping."""
    if isinstance(value, tuple) or (by_id and isinstance(value, Mapping)):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, one in entries:
            yield from _components_in(one, (*path, key), False)
    elif isinstance(value, str):
        yield path, value, value
    elif isinstance(value, Mapping) and isinstance(value.get("name"), str):
        yield path, value["name"], value


def _by_id(annotation: Any) -> bool:
    """Whether a field maps ids to components."""
    return get_origin(annotation) is Mapping


def valid_keys(model: type[BaseModel], path: Place = ()) -> Iterator[tuple[Place, list[str]]]:
    """The keys of each mapping that a model declares, by its path; components, which add others, aside."""
    if issubclass(model, Component):
        return
    yield path, list(model.model_fields)
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from valid_keys(inner, (*path, name))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
