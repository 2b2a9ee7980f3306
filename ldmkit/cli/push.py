"""`ldmkit push`: a packaged model on the hub."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("name", metavar="ORGANIZATION/NAME")
@click.option("--private", is_flag=True, help="Only its owners see it.")
def command(folder: Path, name: str, private: bool) -> None:
    """Upload the packaged model in FOLDER to the Hugging Face hub, and print what a recipe says to use it.

    Needs a token: `hf auth login`, or HF_TOKEN. The repository is made where it is not there yet.
    """
    from ldmkit.verbs.package.push import push

    click.echo(f"weights: {{hub: {name}, revision: {push(folder, name, private=private)}}}")
