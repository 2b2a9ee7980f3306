"""`ldmkit export`: a model in a published format."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", "style", type=click.Choice(["compvis", "diffusers"]), required=True)
@options.runs
@options.overrides
def command(recipe: Path, out: Path, style: str, runs: Path, overrides: tuple[str, ...]) -> None:
    """Write the model of RECIPE, with its weights, to the new folder OUT."""
    from ldmkit.interchange import export_model
    from ldmkit.verbs import run as make

    export_model(make.existing(recipe, overrides, runs, say=click.echo), out, style)
    click.echo(f"{style}: {out}")
