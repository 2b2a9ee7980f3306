"""`ldmkit doctor`: is everything here that ldmkit needs?"""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@options.runs
@options.json_output
def command(runs: Path, as_json: bool) -> None:
    """Look at this machine: versions, plugins, devices, room on the disk, speed.

    A line that begins with "!" is something amiss, with what to do about it. Exit code 0 all the same.
    """
    from ldmkit.host.plugins import host
    from ldmkit.verbs.doctor import facts

    answers = facts(host(), runs)
    if as_json:
        options.write_json([{"what": w, "found": f, "advice": a or None} for w, f, a in answers])
        return
    for what, fact, advice in answers:
        click.echo(f"{'!' if advice else ' '} {what}: {fact}" + (f"; {advice}" if advice else ""))
