"""`ldmkit evaluate`: the figures of a recipe's system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.argument("recipe", type=RECIPE)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for metrics.json and contact.png.  [default: RUNS/NAME/evaluation]",
)
@options.runs
@options.device
@options.running
@options.overrides
@options.json_output
def command(
    recipe: Path, out: Path | None, runs: Path, device: str | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Measure what RECIPE's weights do: its `evaluate.metrics`; trains nothing.

    The report is written after each metric; what it has of the same weights, recipe and data is not measured
    again.
    """
    from rich.console import Console

    from ldmkit.engine.opening import assembled, opened
    from ldmkit.progress import bar
    from ldmkit.verbs.evaluate import measured, prepared

    options.check_out(out)
    say = options.say_aside if as_json else options.say
    system = assembled(recipe, overrides, device)
    target = out or runs / system.recipe.name / "evaluation"
    with bar() as progress:
        measures = prepared(system, target, progress)
        opened(system, runs=runs, say=say)
        report = measured(system, measures, target, say)
    if as_json:
        options.write_json(report)
        return
    Console().print(_table(report))
    for name in ("metrics.json", "contact.png"):
        if (target / name).exists():
            click.echo(f"{name.partition('.')[0]}: {target / name}")


def _table(report: Mapping[str, Any]) -> Table:
    from rich.table import Table

    table = Table("metric", "of", "figures", title=report["recipe"])
    for result in report["metrics"]:
        for i, (of, figures) in enumerate(_lines(result["figures"])):
            table.add_row("" if i else result["name"], of, figures)
        table.add_section()
    return table


def _lines(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The figures of one level on one line; nested figures on lines below."""
    flat = {name: value for name, value in figures.items() if not isinstance(value, Mapping)}
    if flat:
        yield prefix, "  ".join(f"{name} [b]{_shown(value)}[/b]" for name, value in flat.items())
    for name in (n for n in figures if n not in flat):
        yield from _lines(figures[name], f"{prefix} {name}".strip())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
