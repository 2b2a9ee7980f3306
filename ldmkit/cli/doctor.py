"""`ldmkit doctor`: is everything here that ldmkit needs?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@options.runs
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(runs: Path, as_json: bool) -> None:
    """Look at this machine: versions, plugins, devices, room on the disk, speed.

    A line that begins with "!" is something amiss, with what to do about it. Exit code 0 all the same.
    """
    from ldmkit.host.plugins import host
    from ldmkit.verbs.doctor import facts

    for what, found, advice in facts(host(), runs):
        if as_json:
            click.echo(
                json.dumps({"what": what, "found": found, "advice": advice or None}, ensure_ascii=False)
            )
        else:
            click.echo(f"{'!' if advice else ' '} {what}: {found}" + (f"; {advice}" if advice else ""))
