"""The card of a packaged model: what it is, what it was made of, how well it does, how to make it again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ldmkit.disk import read_text, write_text
from ldmkit.engine.counting import counts
from ldmkit.engine.system import System
from ldmkit.engine.versions import distributions
from ldmkit.recipe import Recipe
from ldmkit.recipe.dump import leaves
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
