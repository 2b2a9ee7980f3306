"""The card of a packaged model: what it is, what it was made of, how well it does, how to make it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ldmkit.disk import read_text, write_text
from ldmkit.engine.counting import counts
from ldmkit.engine.system import System
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import Registry
from ldmkit.recipe import Component, Recipe
from ldmkit.recipe.dump import leaves
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place
from ldmkit.types import Say
from ldmkit.verbs.measured import measured_on

CARD = "README.md"


Figure = tuple[str, str, Any]
"""Metric, figure, value."""


def write_card(
    system: System,
    packaged: Recipe,
    out: Path,
    license: str,
    figures: Sequence[Figure],
    left_out: Collection[str],
) -> None:
    """Writes `out`/README.md for a packaged recipe. left_out: where the recipe names data by a path."""
    recipe = system.recipe
    environment = Environment(
        loader=PackageLoader("ldmkit.verbs.package", "."), undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("card.md.jinja").render(
        recipe=recipe,
        license=license,
        parts=list(counts(system)),
        figures=figures,
        grid="pictures/grid.png" if (out / "pictures/grid.png").is_file() else "pictures/reconstructions.png",
        data=recipe.data and {"name": recipe.data.name, **recipe.data.flat()},
        left_out=[*left_out],
        distributions={name: version(name) for name in distributions(packaged, system.registry)},
    )
    write_text(out / CARD, text)


def distributions(recipe: Recipe, registry: Registry) -> list[str]:
    """ldmkit, the distributions of all components that a resolved recipe names, without which it is refused,
    and those that a component's parameter `package` names."""
    names = {"ldmkit"}

    def visit(path: Place, kind: str, component: Component) -> Component:
        names.update(_needed(kind, component, registry))
        return component

    replace_components(recipe, visit)
    return sorted(names)


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


def figures_of(system: System, runs: Path, say: Say) -> list[Figure]:
    """The figures of a report of `ldmkit evaluate` below `runs`; none where there is no report, or it is on
    other weights or settings, which is told."""
    report = runs / system.recipe.name / "evaluation" / "metrics.json"
    if not report.is_file():
        return []
    held = json.loads(read_text(report))
    now = json.loads(json.dumps(measured_on(system)))
    if {key: held.get(key) for key in now} != now or "adapters" in held.keys() - now.keys():
        say(f"{report}: measured on other weights or settings, left out of the card: run `ldmkit evaluate`")
        return []
    rows = [(one["name"], path, value) for one in held["metrics"] for path, value in leaves(one["figures"])]
    return [(n, p, round(v, 4) if isinstance(v, float) else v) for n, p, v in rows if v is not None]
