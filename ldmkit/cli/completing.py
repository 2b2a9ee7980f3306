"""What a shell offers when Tab is pressed: recipes, paths of overrides, kinds and components. No torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from pydantic import BaseModel

from ldmkit.errors import UserError
from ldmkit.host.declared import declared_parameters
from ldmkit.host.parameters import OWN_KEYS
from ldmkit.host.plugins import host
from ldmkit.host.registry import KINDS
from ldmkit.recipe import Component, Recipe, load
from ldmkit.recipe.dump import flat
from ldmkit.recipe.named import known_recipes
from ldmkit.recipe.slots import named_components
from ldmkit.recipe.sources import Place

Offered = list[CompletionItem]


class RecipePath(click.Path):
    """A recipe by its file or its name; completed with both."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
        """The names that begin so; then the shell's own completion of files."""
        return [*_items(known_recipes(), incomplete), *super().shell_complete(ctx, param, incomplete)]


RECIPE = RecipePath()


def override(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """Paths of the recipe that the command names, each with "="; after it, components of the place's kind."""
    values = _named(ctx)
    path, equals, _ = incomplete.partition("=")
    if equals:
        return _items((f"{path}={name}" for name in _names(_kind_at(values, path))), incomplete)
    known = {*_of_part(Recipe), *_of_values(values), *_of_components(values)}
    return _items((f"{one}=" for one in sorted(known)), incomplete)


def kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """Kinds of components."""
    return _items(KINDS, incomplete)


def component(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """The components of the kind that was typed before."""
    return _items(_names(ctx.params.get("kind") or ""), incomplete)


def stage(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """The stages and adapters of the recipe that the command names."""
    values = _named(ctx)
    second = ["diffusion"] if values.get("denoiser") else []
    return _items(["compression", *second, *values.get("adapters", ())], incomplete)


def _names(kind: str) -> list[str]:
    return [entry.name for entry in host().registry if entry.kind == kind]


def _named(ctx: click.Context) -> Mapping[str, Any]:
    """The values of the recipe that the command names."""
    # While the value of an option is missing, click leaves arguments among the words that it has not read.
    recipe = ctx.params.get("recipe") or next(iter(ctx.args), None)
    return {} if recipe is None else _values(Path(recipe))


def _values(recipe: Path) -> Mapping[str, Any]:
    """What a recipe says, with the components that stand where it names none; nothing where it cannot be
    read: completion must not fail."""
    with contextlib.suppress(UserError, OSError):
        return flat(load(recipe))
    return {}


def _kind_at(values: Mapping[str, Any], path: str) -> str:
    """The kind of the component whose name a path sets: "denoiser", "denoiser.name", "guidance.0"."""
    path = path.removesuffix(".name")
    places = {_dotted(place): kind for place, kind, _, _ in named_components(values, Recipe)}
    return places.get(path, path.rpartition(".")[2])


def _of_components(values: Mapping[str, Any]) -> Iterator[str]:
    """The paths of the parameters of a recipe's components, given or not."""
    for place, kind, name, _ in named_components(values, Recipe):
        entry = host().registry.find(kind, name)
        own = [key for key in OWN_KEYS.get(kind, ("name",)) if key != "parameters"]
        yield from (f"{_dotted(place)}.{key}" for key in own)
        yield from (f"{_dotted(place)}.{key}" for key in (declared_parameters(entry) if entry else ()))


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))


def _of_part(part: type[BaseModel], place: str = "") -> Iterator[str]:
    """The paths below a part of the recipe's model."""
    for name, field in part.model_fields.items():
        yield f"{place}{name}"
        if isinstance(field.default, BaseModel) and not isinstance(field.default, Component):
            yield from _of_part(type(field.default), f"{place}{name}.")


def _of_values(values: Any, place: str = "") -> Iterator[str]:
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(values, Mapping):
        items = values.items()
    elif isinstance(values, list | tuple):
        items = enumerate(values)
    for key, value in items:
        yield f"{place}{key}"
        yield from _of_values(value, f"{place}{key}.")


def _items(values: Iterable[str], incomplete: str) -> Offered:
    return [CompletionItem(value) for value in values if value.startswith(incomplete)]
