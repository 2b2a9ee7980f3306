"""Versions of what trains: those that are installed, and those that a run folder records."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ldmkit.disk import json_of, read_text
from ldmkit.engine.parts import Parts
from ldmkit.errors import UserError
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import Registry
from ldmkit.pictures import shown
from ldmkit.recipe import Recipe
from ldmkit.recipe.components import Component
from ldmkit.recipe.digests import SECTIONS
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place

NAME = "versions.json"
SHOWN = 5
"""How many versions a line lists."""

installed = cache(version)
"""An installed version; asked once, since each answer parses all that a distribution says of itself."""


def versions(system: Parts) -> dict[str, str]:
    """Versions of ldmkit, its plugins, torch, accelerate and Python."""
    plugins = {entry.distribution: entry.version for entry in system.registry}
    libraries = {name: installed(name) for name in ("torch", "accelerate", "safetensors")}
    return {"python": platform.python_version(), "ldmkit": installed("ldmkit"), **plugins, **libraries}


def other_versions(folder: Path, now: Mapping[str, str]) -> str | None:
    """What a run folder records as of another version, in words; None where that is nothing, or not known."""
    try:
        before = json_of(read_text(folder / NAME))
        both = sorted(before.keys() & now.keys())
    except (OSError, UserError, ValueError, AttributeError):
        return None
    others = [f"{name} {shown(before[name])} (now {now[name]})" for name in both if before[name] != now[name]]
    return ", ".join(others[:SHOWN])[:300] or None


def other_makers(folder: Path, system: Parts, name: str) -> str | None:
    """The same for ldmkit and the plugins whose components determine a stage or an adapter of that name."""
    makers = distributions(system.recipe, system.registry, name)
    return other_versions(folder, {key: x for key, x in versions(system).items() if key in makers})


def distributions(recipe: Recipe, registry: Registry, name: str | None = None) -> list[str]:
    """ldmkit, the distributions of all components that a resolved recipe names, without which it is refused,
    and those that a component's parameter `package` names.

    name: of a stage or an adapter: only of the components that determine it, without the stage below it.
    """
    names = {"ldmkit"}

    def visit(path: Place, kind: str, component: Component) -> Component:
        if name is None or _determines(path, name):
            names.update(_needed(kind, component, registry))
        return component

    replace_components(recipe, visit)
    return sorted(names)


def _determines(path: Place, name: str) -> bool:
    sections = SECTIONS.get(name)
    if sections is None:
        return path[:2] == ("adapters", name)
    return path[0] in sections or path[:2] == ("train", name)


def _needed(kind: str, component: Component, registry: Registry) -> Iterator[str]:
    """The distributions of a component and of those among its parameters."""
    entry = registry.get(kind, component.name)
    yield entry.distribution
    if isinstance(package := component.parameters.get("package"), str):
        yield package
    for name, slot in parameters_of(entry).nested.items():
        held = component.checked.nested.get(name)
        for one in held if isinstance(held, tuple) else (held,):
            if isinstance(one, Component):
                yield from _needed(slot.kind, one, registry)
