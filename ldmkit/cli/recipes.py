"""`ldmkit recipes`: the recipes at hand."""

from __future__ import annotations

from pathlib import Path

import click

from ldmkit.cli import options
from ldmkit.disk import read_text
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry
from ldmkit.recipe.named import FOLDER, missing_file, recipe_file, shipped_recipes
from ldmkit.recipe.yaml import read_file


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@options.json_output
def command(folder: Path | None, as_json: bool) -> None:
    """List the recipes in FOLDER (by default ./recipes): name, path, the first comment's line; then those of
    installed plugins: the name to use, the distribution, what it is.

    Where there is no ./recipes, list the recipes that come with ldmkit: the name to use, path, comment.
    """
    paths = sorted((folder or Path(FOLDER)).rglob("*.yaml"))
    named = [*shipped_recipes().items()] if folder is None and not paths else [(_name(p), p) for p in paths]
    rows = [(name, str(path), _comment(path)) for name, path in named]
    brought = [e for e in host().registry if e.kind == "recipe"]
    rows += [(e.name, f"{e.distribution} {e.version}", _summary(e)) for e in brought]
    if not rows:
        raise UserError(f"{folder}: no recipes (*.yaml) there; name the folder that holds them")
    if as_json:
        keys = ("name", "place", "comment")
        options.write_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    names, places = (max(len(row[i]) for row in rows) for i in (0, 1))
    for name, place, comment in rows:
        click.echo(f"{name:<{names}}  {place:<{places}}  {comment}".rstrip())


def _summary(entry: Entry) -> str:
    return entry.summary if recipe_file(entry) else f"({missing_file(entry)})"


def _name(path: Path) -> str:
    """The recipe's name; an unreadable file is listed too, `ldmkit check` says what is wrong with it."""
    try:
        values, _ = read_file(path)
    except UserError:
        return "(unreadable)"
    return str(values.get("name", "(no name)")) if isinstance(values, dict) else "(no recipe)"


def _comment(path: Path) -> str:
    try:
        lines = read_text(path, "replace").splitlines()
    except OSError:
        return ""
    first = next((line for line in lines if line.strip()), "")
    return first.lstrip("# ").strip() if first.startswith("#") else ""
