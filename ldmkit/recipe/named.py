"""Recipes by name: those of the working directory, of a clone, of the installed package, of plugins."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.installed import packaged_file
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry

FOLDER = "recipes"
"""The folder whose files are found by name: in the working directory, and beside the sources in a clone."""
SHARED = "share/ldmkit/recipes/"
"""Where a wheel puts the same files below the environment's root."""


def find_recipe(name: str) -> Path:
    """The file of a recipe by its path in `recipes/` without the suffix, as "text2img" or "paper/imagenet",
    or as DISTRIBUTION:RECIPE of an installed plugin.

    The working directory's `recipes/` goes before the ones that come with ldmkit, and those before a plugin's
    that is named without its distribution. UserError names those there are.
    """
    known = known_recipes()
    if name in known:
        return known[name]
    meant = [entry for entry in _entries() if name in (entry.name, entry.name.partition(":")[2])]
    if len(meant) > 1:
        several = ", ".join(sorted(entry.name for entry in meant))
        raise UserError(f"no recipe '{name}': several plugins bring one of this name, take one of {several}")
    if meant:
        raise UserError(f"recipe '{name}': {missing_file(meant[0])}")
    names = ", ".join(n for n in known if "/" not in n) or "none"
    near = did_you_mean(name, known)
    raise UserError(f"no recipe '{name}': no such file, and by name there are: {names}{near}")


def known_recipes() -> dict[str, Path]:
    """Every recipe that can be named, by name."""
    return dict(sorted({**_brought(), **shipped_recipes(), **_below(Path(FOLDER))}.items()))


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with ldmkit, by name."""
    recipes = {**_installed(), **_below(Path(__file__).parents[2] / FOLDER)}
    return dict(sorted(recipes.items()))


def missing_file(entry: Entry) -> str:
    """What to do about a plugin's recipe whose file is not there, on one line."""
    return (
        f"{entry.distribution} {entry.version} registers it, but its file {entry.target} is not there: "
        "install the distribution again, or tell its author"
    )


def _entries() -> list[Entry]:
    """The recipes that plugins register."""
    return [entry for entry in host().registry if entry.kind == "recipe"]


def _brought() -> dict[str, Path]:
    """The recipes of plugins as DISTRIBUTION:RECIPE, and by name alone where one plugin has it."""
    entries = _entries()
    alone = Counter(entry.name.partition(":")[2] for entry in entries)
    recipes: dict[str, Path] = {}
    for entry in entries:
        path, short = recipe_file(entry), entry.name.partition(":")[2]
        if path is not None:
            recipes |= {entry.name: path, **({short: path} if alone[short] == 1 else {})}
    return recipes


def recipe_file(entry: Entry, name: str = "") -> Path | None:
    """The file of a registered recipe, "package/folder/recipe.yaml", or the one of that name in a registered
    folder of weights, "package/folder". The package is not imported. None where the file is not there."""
    package, _, inside = f"{entry.target}/{name}".rstrip("/").partition("/")
    if not package.isidentifier() or ".." in Path(inside).parts:  # nothing outside the package
        return None
    return packaged_file(package, inside)


def _below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.yaml")}


def _installed() -> dict[str, Path]:
    """What the wheel of ldmkit has put into the environment."""
    try:
        ours = distribution("ldmkit")
    except PackageNotFoundError:
        return {}
    names = {file: file.as_posix().partition(SHARED)[2] for file in ours.files or ()}
    paths = {name.removesuffix(".yaml"): Path(str(ours.locate_file(f))) for f, name in names.items() if name}
    return {name: path.resolve() for name, path in paths.items() if path.suffix == ".yaml"}
