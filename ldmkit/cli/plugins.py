"""`ldmkit plugins`: what is installed, and what a component's parameters mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.plugins import Host, host
from ldmkit.host.registry import KINDS, Entry


@click.command()
@click.argument("kind", required=False)
@click.argument("name", required=False)
def command(kind: str | None, name: str | None) -> None:
    """List components (of one KIND), or the parameters of the component of a KIND and NAME."""
    if kind is not None and kind not in KINDS:
        raise UserError(f"no kind '{kind}'; there are: {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if kind is not None and name is not None:
        _show_component(kind, name)
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


def _show_component(kind: str, name: str) -> None:
    entry = host().registry.get(kind, name)
    click.echo(f"{kind} {name}, of {entry.distribution} {entry.version}: {entry.summary}")
    if kind == "weights":
        return
    rows = _parameters(entry)
    if rows:
        click.echo()
        _table(("parameter", "type", "default", "meaning"), rows)
    else:
        click.echo("It has no parameters.")


def _parameters(entry: Entry) -> list[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of each parameter."""
    from pydantic_core import to_jsonable_python

    from ldmkit.host.descriptions import field_type
    from ldmkit.host.parameters import parameters_of

    declared, rows = parameters_of(entry), []
    for name, field in declared.model.model_fields.items():
        nested = declared.nested.get(name)
        kind = f"list of {nested.kind}" if nested and nested.many else nested.kind if nested else ""
        default = "required" if field.is_required() else json.dumps(to_jsonable_python(field.default))
        rows.append((name, kind or field_type(field), default, field.description or ""))
    return rows


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
