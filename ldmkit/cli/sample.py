"""`ldmkit sample`: pictures from weights that are there already."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@options.request
@options.runs
@options.device
@options.overrides
@click.option(
    "--again", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Make this PNG again, from the prompt and seed that it carries.",
)  # fmt: skip
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
    again: Path | None,
) -> None:
    """Make pictures with RECIPE's weights; trains nothing."""
    from ldmkit.engine.opening import open_recipe
    from ldmkit.verbs import run as make

    texts = options.all_prompts(prompts, prompts_file)
    system = open_recipe(recipe, overrides, runs=runs, device=device, say=click.echo)
    wanted = make.wanted_again(system, again) if again else make.wanted(system, texts, seed, negative)
    target = out or runs / system.recipe.name / "samples"
    make.make_pictures(system, wanted, target, click.echo)
    click.echo(f"grid: {target / 'grid.png'}")
