"""`ldmkit sample`: pictures from weights that are there already."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE
from ldmkit.verbs.arguments import PictureArguments


@click.command()
@click.argument("recipe", type=RECIPE)
@options.request
@options.runs
@options.device
@options.running
@options.overrides
@click.option(
    "--again", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Make this PNG again, from the inputs, the seed and the options that it carries.",
)  # fmt: skip
def command(
    recipe: Path,
    arguments: PictureArguments,
    out: Path | None,
    runs: Path,
    device: str | None,
    overrides: tuple[str, ...],
    again: Path | None,
) -> None:
    """Draw pictures with RECIPE's weights; trains nothing."""
    from ldmkit.engine.opening import assembled, opened
    from ldmkit.verbs import run as make
    from ldmkit.verbs.again import arguments_again, check_weights, recorded_again

    options.check_out(out)
    if again is not None:
        arguments = arguments_again(again, arguments)
    system = assembled(recipe, arguments.overrides, device)
    if again is None:
        recorded = make.recorded_inputs(system, arguments)
    else:
        recorded = recorded_again(system, again, arguments, recipe)
    opened(system, runs=runs, say=options.say)
    if again is not None:
        check_weights(system, again)
    target = out or runs / system.recipe.name / "samples"
    make.make_pictures(system, recorded, target, options.say)
    click.echo(f"grid: {target / 'grid.png'}")
