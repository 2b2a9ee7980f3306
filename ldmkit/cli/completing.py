"""What a shell offers when Tab is pressed: recipes, paths of overrides, kinds and components. No torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from pydantic import BaseModel

Offered = list[CompletionItem]


class RecipePath(click.Path):
    """A recipe by its file or its name; completed with both."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
        """The names that begin so; then the shell's own completion of files."""
        from ldmkit.recipe.named import known_recipes

        return [*_items(known_recipes(), incomplete), *super().shell_complete(ctx, param, incomplete)]


RECIPE = RecipePath()


def override(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """Paths of the recipe that the command names, each with "="; after it, components of the place's kind."""
    path, equals, _ = incomplete.partition("=")
    if equals:
        return _items((f"{path}={name}" for name in _names(path.split(".")[-1])), incomplete)
    # While the value of an option is missing, click leaves arguments among the words that it has not read.
    recipe = ctx.params.get("recipe") or next(iter(ctx.args), None)
    known = _paths(None if recipe is None else Path(recipe))
    return _items((f"{one}=" for one in sorted(known)), incomplete)


def kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """Kinds of components."""
    from ldmkit.host.registry import KINDS

    return _items(KINDS, incomplete)


def component(ctx: click.Context, param: click.Parameter, incomplete: str) -> Offered:
    """The components of the kind that stands before."""
    return _items(_names(ctx.params.get("kind") or ""), incomplete)


def _names(kind: str) -> list[str]:
    from ldmkit.host.plugins import host

    return [entry.name for entry in host().registry if entry.kind == kind]


def _paths(recipe: Path | None) -> set[str]:
    """What every recipe has, and what the one named says."""
    from ldmkit.recipe import Recipe

    return {*_of_part(Recipe), *_of_file(recipe)}


def _of_part(part: type[BaseModel], place: str = "") -> Iterator[str]:
    """The paths below a part of the recipe's model."""
    for name, field in part.model_fields.items():
        yield f"{place}{name}"
        if isinstance(field.default, BaseModel):
            yield from _of_part(type(field.default), f"{place}{name}.")


def _of_file(recipe: Path | None) -> Iterator[str]:
    """The paths of a recipe's file; none where it cannot be read: completion must not fail."""
    from ldmkit.errors import UserError
    from ldmkit.recipe.named import find_recipe
    from ldmkit.recipe.yaml import read_text

    if recipe is None:
        return
    with contextlib.suppress(UserError, OSError, UnicodeDecodeError):
        file = recipe if recipe.is_file() else find_recipe(str(recipe))
        values, _ = read_text(file.read_text(encoding="utf-8"), str(file), positions=False)
        yield from _of_values(values)


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
