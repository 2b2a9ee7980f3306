"""`ldmkit train`: a recipe's stages, in order or one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE

if TYPE_CHECKING:
    from ldmkit.engine.weights import StageName


@click.command()
@click.argument("recipe", type=RECIPE)
@click.option("--stage", type=click.Choice(["compression", "diffusion"]), help="Train this stage alone.")
@click.option("--restart", is_flag=True, help="Forget what these stages have learned so far.")
@click.option("--dry-run", is_flag=True, help="Say what it would take: pictures, bytes, hours.")
@options.start
@options.runs
@options.device
@options.wait
@options.accept
@options.any_size
@options.overrides
def command(
    recipe: Path,
    stage: StageName | None,
    restart: bool,
    dry_run: bool,
    wait: bool,
    accept: bool,
    any_size: bool,
    runs: Path,
    device: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Train RECIPE; where a training was interrupted it goes on.

    SIGTERM and Ctrl-C save at the end of the step and end with exit code 143 or 130. Under `accelerate
    launch` the processes share each batch. With --dry-run a few batches are measured and nothing is kept.
    """
    if dry_run:
        from ldmkit.verbs.estimate import estimate

        return estimate(recipe, overrides, runs, stage, device, options.say)
    from ldmkit.verbs.train import train_recipe

    train_recipe(
        recipe,
        overrides,
        runs,
        stage=stage,
        restart=restart,
        wait=wait,
        accept=accept,
        any_size=any_size,
        device=device,
        say=options.say,
    )
