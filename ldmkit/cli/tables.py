"""Rows for people and for programs. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people on a terminal; piped: tab-separated lines, for programs."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*head, box=None, pad_edge=False)
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console: Any = Console()
    console.print(shown)
