"""`ldmkit diff`: in which values do two recipes differ?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE


@click.command()
@click.argument("one", type=RECIPE)
@click.argument("other", type=RECIPE)
@options.json_output
def command(one: Path, other: Path, as_json: bool) -> None:
    """Compare two recipes, or the recipes of two runs, completed with today's defaults.

    A line a value: its path in the recipe, the value in ONE, the value in OTHER. Prints nothing where both
    describe the same. Exit code 1 where they differ, as diff(1) has it.
    """
    from ldmkit.verbs.diff import differences

    lines = differences(one, other)
    if as_json:
        options.write_json(lines)
    else:
        for path, (before, after) in lines.items():
            click.echo(f"{path}: {_shown(before)} -> {_shown(after)}")
    if lines:
        raise SystemExit(1)


def _shown(value: object) -> str:
    return "(absent)" if value is None else json.dumps(value, ensure_ascii=False)
