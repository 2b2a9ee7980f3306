"""`ldmkit decode`: latents into pictures."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE


@click.command()
@click.argument("recipe", type=RECIPE)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@options.runs
@options.device
@options.overrides
def command(
    recipe: Path, folder: Path, out: Path, runs: Path, device: str | None, overrides: tuple[str, ...]
) -> None:
    """Turn the latents of FOLDER, made by `ldmkit encode`, back into pictures in the new folder OUT.

    Latents of another compression stage than RECIPE's are refused; broken ones are listed and skipped.
    """
    from ldmkit.verbs.encode import check_folders, compression_alone, decode_folder
    from ldmkit.verbs.latent_files import LATENT

    check_folders(folder, out, (LATENT,), "latent")
    system = compression_alone(recipe, overrides, runs, options.say, device)
    for problem in decode_folder(system, folder, out, options.say):
        click.echo(f"skipped: {problem}", err=True)
    click.echo(f"pictures: {out}")
