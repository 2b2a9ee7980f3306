"""`ldmkit schema`: the JSON Schema of recipes."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
def command(out: Path | None) -> None:
    """Write the JSON Schema of recipes with every installed component, for editors.

    A recipe that begins with `# yaml-language-server: $schema=FILE` is then completed and checked as it is
    typed.
    """
    from ldmkit.host.plugins import host
    from ldmkit.recipe.schema import recipe_schema

    text = json.dumps(recipe_schema(host().registry), indent=2, ensure_ascii=False)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
