"""`ldmkit import`: published weights become a recipe and safetensors."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="The single file's published configuration.")
@click.option(
    "--weights",
    type=click.Choice(["raw", "ema"]),
    help="Which of a checkpoint's weights; by default the averaged ones where there are any.",
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="A folder with the tokenizer of a text encoder that comes without one.",
)
@click.option("--format", help="The published format, where SOURCE does not show it.")
def command(
    source: Path,
    out: Path,
    config: Path | None,
    weights: str | None,
    tokenizer: Path | None,
    format: str | None,
) -> None:
    """Read a published model SOURCE into the new folder OUT.

    SOURCE is a single file (.ckpt or .safetensors, with --config) or a Hugging Face folder. Every key is
    accounted for, and nothing in the files is executed.
    """
    from ldmkit.interchange import import_model

    path = import_model(source, out, config, weights, options.say, tokenizer=tokenizer, format=format)
    click.echo(f"recipe: {path}")
