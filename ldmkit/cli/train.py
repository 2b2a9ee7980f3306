"""`ldmkit train`: a recipe's stages, in order or one of them."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import completing, options
from ldmkit.verbs.arguments import Terms


@click.command()
@click.argument("recipe", type=completing.RECIPE)
@click.option(
    "--stage",
    metavar="NAME",
    shell_complete=completing.stage,
    help="Train this alone: compression, diffusion, or an adapter by its name.",
)
@click.option("--restart", is_flag=True, help="Forget what these stages have learned so far.")
@click.option("--dry-run", is_flag=True, help="Say what it would take: pictures, bytes, hours.")
@options.start
@options.terms
@options.overrides
def command(
    recipe: Path,
    stage: str | None,
    restart: bool,
    dry_run: bool,
    terms: Terms,
    overrides: tuple[str, ...],
) -> None:
    """Train RECIPE; where a training was interrupted it goes on.

    Of a recipe that trains adapters, a stage below them is trained only where there are no weights for it.
    SIGTERM and Ctrl-C save at the end of the step and end with exit code 143 or 130. Under `accelerate
    launch` the processes share each batch. With --dry-run a few batches are measured and nothing is kept.
    """
    if dry_run:
        from ldmkit.verbs.estimate import estimate

        return estimate(recipe, overrides, terms.runs, stage, terms.device, options.say, restart=restart)
    from ldmkit.verbs.train import train_recipe

    train_recipe(recipe, overrides, terms, stage=stage, restart=restart, say=options.say)
