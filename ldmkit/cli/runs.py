"""`ldmkit runs`: the trainings at hand."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@click.argument("action", type=click.Choice(["list", "clean"]), default="list")
@click.argument("names", nargs=-1)
@options.runs
@options.json_output
@click.option("--yes", is_flag=True, help="Clean without asking.")
def command(action: str, names: tuple[str, ...], runs: Path, as_json: bool, yes: bool) -> None:
    """List the trainings below RUNS, or `clean` what finished trainings no longer need.

    `clean` removes the checkpoints of finished stages and the caches of latents and text states (of the runs
    NAMES, by default of all), after telling what it would free. Weights, logs and pictures stay; checkpoints
    are needed to train a finished stage for more steps.
    """
    from ldmkit.verbs import runs as verb

    if action == "list":
        rows = verb.listed(runs, names)
        if as_json:
            options.write_json([row.plain() for row in rows])
        else:
            click.echo(verb.table(rows))
        return
    removable = verb.removable(runs, names)
    for path, size in removable:
        click.echo(f"{verb.bytes_in_words(size):>9}  {path}")
    if not removable:
        click.echo("nothing to clean")
        return
    total = verb.bytes_in_words(sum(size for _, size in removable))
    if yes or click.confirm(f"remove these, {total} in all?"):
        verb.remove([path for path, _ in removable])
        click.echo(f"freed {total}")
