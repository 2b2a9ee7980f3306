"""`ldmkit run`: make what is missing, then the pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE
from ldmkit.verbs.arguments import PictureArguments, Terms


@click.command()
@click.argument("recipe", type=RECIPE)
@options.start
@options.request
@options.terms
@options.running
@options.overrides
@click.option(
    "--retrain",
    is_flag=True,
    help="Train again what RECIPE trains, whatever weights are there: its adapters, else its stages.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be reused and trained, and the time, memory and disk that takes.",
)
def command(
    recipe: Path,
    arguments: PictureArguments,
    out: Path | None,
    terms: Terms,
    overrides: tuple[str, ...],
    retrain: bool,
    dry_run: bool,
) -> None:
    """Train the stages of RECIPE that have no weights yet, then draw its pictures.

    Weights that a plugin ships for exactly this recipe serve instead of a training. After an interruption the
    same command goes on where it was.
    """
    from ldmkit.verbs import run as make
    from ldmkit.verbs.train import ready

    if dry_run:
        _tell(recipe, overrides, terms, retrain)
        return
    options.check_out(out)
    before = partial(make.check, arguments=arguments)
    system = ready(recipe, overrides, terms, retrain=retrain, say=options.say, before=before)
    target = out or terms.runs / system.recipe.name / "samples"
    if not make.draws(system):
        make.make_reconstructions(system, target, options.say)
        return
    make.make_pictures(system, make.recorded_inputs(system, arguments), target, options.say)
    click.echo(f"grid: {target / 'grid.png'}")


def _tell(recipe: Path, overrides: tuple[str, ...], terms: Terms, retrain: bool) -> None:
    from ldmkit.engine.opening import assembled
    from ldmkit.verbs.plan import plan

    for line in plan(assembled(recipe, overrides, device=terms.device), terms.runs, retrain=retrain):
        click.echo(line)
