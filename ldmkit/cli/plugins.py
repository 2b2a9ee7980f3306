"""`ldmkit plugins`: what is installed, and what a component's parameters mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from ldmkit.cli import completing
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.plugins import Host, host
from ldmkit.host.registry import KINDS, Entry

SLOW = 0.5
"""Seconds from which on a distribution's plugins are told of: every command waits for them."""


@click.command()
@click.argument("kind", required=False, shell_complete=completing.kind)
@click.argument("name", required=False, shell_complete=completing.component)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with every parameter.")
def command(kind: str | None, name: str | None, as_json: bool) -> None:
    """List components (of one KIND), or the parameters of the component of a KIND and NAME.

    A table on a terminal, tab-separated lines elsewhere.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"no kind '{kind}'; there are: {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    entry = None if kind is None or name is None else host().registry.get(kind, name)
    if as_json:
        from ldmkit.host.catalogue import described

        rows = [row for row in described(host().registry, kind) if entry is None or row["name"] == entry.name]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    elif entry is not None:
        _show_component(entry)
    else:
        _show_all(host(), kind)


def _show_all(loaded: Host, kind: str | None) -> None:
    rows = [
        (e.kind, e.name, e.distribution, e.version, e.summary)
        for e in loaded.registry
        if kind in (None, e.kind)
    ]
    _table(("kind", "name", "distribution", "version", "what it is"), rows)
    for broken in loaded.broken:
        click.echo(f"broken: {broken.distribution} {broken.version}: {broken.error}")
    for distribution, seconds in loaded.seconds.items():
        if seconds > SLOW:
            click.echo(f"slow: {distribution} took {seconds:.1f} s to import and register")


def _show_component(entry: Entry) -> None:
    from ldmkit.host.catalogue import WITHOUT_PARAMETERS, parameters

    click.echo(f"{entry.kind} {entry.name}, of {entry.distribution} {entry.version}: {entry.summary}")
    rows = [(p.name, p.type, p.default, p.meaning) for p in parameters(entry)]
    if rows:
        click.echo()
        _table(("parameter", "type", "default", "meaning"), rows)
    elif entry.kind not in WITHOUT_PARAMETERS:
        click.echo("It has no parameters.")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people on a terminal; piped: tab-separated lines, for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console: Any = Console()
    console.print(table)
