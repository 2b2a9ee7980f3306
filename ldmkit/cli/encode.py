"""`ldmkit encode`: pictures into latents."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.cli.completing import RECIPE


@click.command()
@click.argument("recipe", type=RECIPE)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what it would take: pictures, bytes, hours.")
@options.runs
@options.device
@options.overrides
def command(
    recipe: Path,
    folder: Path,
    out: Path,
    dry_run: bool,
    runs: Path,
    device: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Turn the pictures of FOLDER into latents of RECIPE's compression stage, in the new folder OUT.

    Each picture becomes a safetensors file of the same name. Pictures may have any size; broken ones are
    listed and skipped.
    """
    from ldmkit.pictures import SUFFIXES
    from ldmkit.verbs.encode import check_folders, compression_alone, encode_folder, estimate

    check_folders(folder, out, SUFFIXES, "picture")
    system = compression_alone(recipe, overrides, runs, options.say, device)
    if dry_run:
        return estimate(system, folder, out, options.say)
    for problem in encode_folder(system, folder, out, options.say):
        click.echo(f"skipped: {problem}", err=True)
    click.echo(f"latents: {out}")
