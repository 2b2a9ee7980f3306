"""The card of a packaged model: what it is, what it was made of, how well it does, how to make it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
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

CARD = "README.md"


def write_card(
    system: System, packaged: Recipe, out: Path, runs: Path, license: str, left_out: Collection[str]
) -> None:
    """Writes `out`/README.md for a packaged recipe; figures come from the report of `ldmkit evaluate` below
    `runs`, if any. left_out: where the recipe names data by a path."""
    recipe = system.recipe
    environment = Environment(
        loader=PackageLoader("ldmkit.verbs.package", "."), undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("card.md.jinja").render(
        recipe=recipe,
        license=license,
        parts=list(counts(system)),
        figures=_figures(runs / recipe.name / "evaluation" / "metrics.json"),
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


def _figures(report: Path) -> list[tuple[str, str, Any]]:
    """(metric, figure, value) of a report of `ldmkit evaluate`; empty where there is none."""
    if not report.is_file():
        return []
    metrics = json.loads(read_text(report))["metrics"]
    rows = [(one["name"], path, value) for one in metrics for path, value in leaves(one["figures"])]
    return [(n, p, round(v, 4) if isinstance(v, float) else v) for n, p, v in rows if v is not None]
