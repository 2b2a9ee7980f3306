"""`ldmkit package`: a model as a folder or a wheel."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("recipe", type=RECIPE)
@click.option("-o", "--out", type=FOLDER, required=True, help="The new folder.")
@click.option("--license", "license_", default="unknown", show_default=True, help="Of the weights.")
@click.option("--wheel", type=FOLDER, help="Build a wheel into this folder too.")
@click.option("--version", "number", default="0.1.0", show_default=True, help="Of the wheel.")
@options.runs
@options.device
@options.overrides
def command(
    recipe: Path,
    out: Path,
    license_: str,
    wheel: Path | None,
    number: str,
    runs: Path,
    device: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Write the model of RECIPE into a folder: recipe, float16 weights, pictures, a card with its figures.

    What components name by paths is copied; the data are not.
    `ldmkit run FOLDER` and `ldmkit.build(FOLDER)` read it; `ldmkit push` brings it to the hub. The wheel is a
    plugin with the same recipe: once installed, `ldmkit run DISTRIBUTION:RECIPE` draws.
    """
    from ldmkit.engine.opening import open_recipe
    from ldmkit.verbs.package.folder import package
    from ldmkit.verbs.package.wheel import build_wheel, normalized

    number = normalized(number)
    system = open_recipe(recipe, overrides, runs=runs, device=device, say=options.say)
    package(system, out, runs, license_, options.say)
    click.echo(f"model: {out}")
    if wheel is not None:
        click.echo(f"wheel: {build_wheel(out, wheel, number)}")
