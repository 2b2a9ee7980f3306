"""What `ldmkit check --explain` tells of each value of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ldmkit.host.catalogue import parameters
from ldmkit.host.registry import Registry
from ldmkit.recipe import Component, Recipe
from ldmkit.recipe.dump import flat, leaves
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place


@dataclass(frozen=True)
class Explained:
    """A value of a recipe by its dotted path, where it was given ("default" where it was not), and what it
    means; empty where its name says that."""

    path: str
    value: Any
    origin: str
    meaning: str


def explain(recipe: Recipe, registry: Registry) -> Iterator[Explained]:
    """Every value of a completed recipe, in its order."""
    meanings = _meanings(recipe, registry)
    places = {".".join(map(str, place)): where for place, where in recipe.source.values.items()}
    for path, value in leaves(flat(recipe)):
        parts = path.split(".")
        around = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        meaning = next((meanings[p] for p in around if p in meanings), "")
        yield Explained(path, value, places.get(path, "default"), meaning)


def _meanings(recipe: Recipe, registry: Registry) -> dict[str, str]:
    """By dotted path: the summary of each component, and the meaning of each of its parameters."""
    meanings: dict[str, str] = {}

    def visit(path: Place, kind: str, component: Component) -> Component:
        entry, at = registry.get(kind, component.name), ".".join(map(str, path))
        meanings[f"{at}.name"] = f"{kind}: {entry.summary}"
        meanings.update({f"{at}.{one.name}": one.meaning for one in parameters(entry)})
        return component

    replace_components(recipe, visit)
    return meanings
