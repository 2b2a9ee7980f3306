"""`ldmkit export`: a model in a published format."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE


@click.command()
@click.argument("recipe", type=RECIPE)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--format", required=True, help="Its name: `ldmkit plugins format` lists them.")
@options.runs
@options.device
@options.overrides
def command(
    recipe: Path, out: Path, format: str, runs: Path, device: str | None, overrides: tuple[str, ...]
) -> None:
    """Write the model of RECIPE, with its weights, to the new folder OUT."""
    from ldmkit.engine.opening import open_recipe
    from ldmkit.host.plugins import host
    from ldmkit.interchange import check_export, export_model

    check_export(host().registry, out, format)
    system = open_recipe(recipe, overrides, runs=runs, device=device, say=options.say)
    for line in export_model(system, out, format):
        click.echo(line)
    click.echo(f"{format}: {out}")
