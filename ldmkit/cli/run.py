"""`ldmkit run`: make what is missing, then the pictures."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@options.request
@options.runs
@options.device
@options.wait
@options.overrides
@click.option(
    "--retrain", is_flag=True, help="Train again every stage that RECIPE trains, whatever weights are there."
)
def command(
    recipe: Path,
    prompts: tuple[str, ...],
    prompts_file: Path | None,
    negative: str | None,
    seed: int | None,
    out: Path | None,
    runs: Path,
    device: str | None,
    overrides: tuple[str, ...],
    retrain: bool,
    wait: bool,
) -> None:
    """Train what RECIPE needs and has not, then make its pictures.

    Weights that a plugin ships for exactly this recipe serve instead of a training. After an interruption the
    same command goes on where it was.
    """
    from ldmkit.verbs import run as make
    from ldmkit.verbs.train import ready

    texts = options.all_prompts(prompts, prompts_file)
    system = ready(recipe, overrides, runs, retrain=retrain, wait=wait, device=device, say=click.echo)
    if system.denoiser is None:
        make.make_reconstructions(system, out or runs / system.recipe.name / "samples", click.echo)
        return
    wanted = make.wanted(system, texts, seed, negative)
    target = out or runs / system.recipe.name / "samples"
    make.make_pictures(system, wanted, target, click.echo)
    click.echo(f"grid: {target / 'grid.png'}")
