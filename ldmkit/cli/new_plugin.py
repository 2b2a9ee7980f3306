"""`ldmkit new-plugin`: the skeleton of a plugin that works as it is."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

import click

from ldmkit.cli import skeleton_recipes
from ldmkit.errors import UserError

KINDS = (
    "sampler",
    "conditioner",
    "guidance",
    "loss",
    "compression",
    "regulariser",
    "denoiser",
    "schedule",
    "spacing",
    "objective",
    "features",
    "adversary",
    "data",
    "metric",
    "optimizer",
    "auxiliary",
    "distillation",
    "callback",
    "adapter",
    "keymap",
    "format",
    "verb",
    "recipe",
)
"""Kinds with templates, KIND.py and test_KIND.py: all but weights, which `ldmkit package` makes."""
LICENSES = {"mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}
"""Licences by the option's value, with the name that metadata use."""
LINE = 110  # characters, as in this repository
FUNCTIONS = ("sampler", "spacing", "verb")
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="sampler", show_default=True)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    help="Folder in which the plugin's folder is made.",
)
@click.option(
    "--license", "license_", type=click.Choice(LICENSES), help="Write this licence.  [default: none]"
)
def command(name: str, kind: str, out: Path, license_: str | None) -> None:
    """Write the plugin NAME, with one component that works, its tests and a workflow that runs them, into a
    folder of that name.

    For weights, `ldmkit package RECIPE --wheel` makes the whole plugin of a training.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name.removeprefix("ldmkit-")):
        raise UserError(f"'{name}' cannot name a plugin: give lower-case words joined by hyphens")
    folder = out / name
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name or --out")
    if _is_taken(name.replace("-", "_")):
        raise UserError(
            f"'{name}' is the name of an installed package, whose place it would take; choose another"
        )
    words = {**_words(name, kind), "license_line": f'license = "{LICENSES[license_]}"\n' if license_ else ""}
    layout = _layout(words["package"], kind, words["component"])
    layout |= {"LICENSE": f"LICENSE-{license_}"} if license_ else {}
    for path, template in layout.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(template, words), encoding="utf-8")
    click.echo(f"{folder} written: pip install pytest -e {folder}, then pytest {folder / 'tests'}")


def _is_taken(package: str) -> bool:
    """Is there such a package or module, of Python or of what is installed?"""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # else a folder of that name, which is no package


def _words(name: str, kind: str) -> dict[str, str]:
    """The words that fill the templates."""
    component = name.removeprefix("ldmkit-")
    identifier = component.replace("-", "_")
    title = "".join(word.capitalize() for word in component.split("-"))
    package, attribute = name.replace("-", "_"), identifier if kind in FUNCTIONS else title
    return {
        "distribution": name,
        "package": package,
        "kind": kind,
        "component": component,
        "attribute": attribute,
        "field": identifier,
        "year": str(date.today().year),
        "usage": _usage(kind, component),
        "tried": _tried(kind, component),
        "commands": skeleton_recipes.commands(kind, component),
        "example": skeleton_recipes.example(kind, component),
        "entries": "\n".join(_entries(package, kind, component, attribute)),
    }


def _usage(kind: str, component: str) -> str:
    """The lines of a recipe that use the component, for the README."""
    said = skeleton_recipes.usage(kind, component)
    field = "\n`field` is the name that your data have for what it reads.\n" if kind == "conditioner" else ""
    return f"In a recipe of your own:\n\n```yaml\n{said}\n```\n{field}" if said else ""


def _tried(kind: str, component: str) -> str:
    """What the commands of the README do."""
    recipe = f"`{component}.yaml`" if kind == "recipe" else "`example.yaml`"
    return (
        f"{recipe} trains a small model in seconds, on pictures that ldmkit-avatars draws, and draws a few."
    )


def _entries(package: str, kind: str, component: str, attribute: str) -> Iterator[str]:
    """The lines that register: a key map comes with its denoiser, a format with its key maps."""
    module = f"{package}.{kind}"
    registered = [(kind, component, f"{module}:{attribute}")]
    if kind == "recipe":
        registered = [(kind, component, f"{package}/{component}.yaml")]
    elif kind == "keymap":
        registered = [("denoiser", component, f"{module}:{attribute}")]
        registered += [("keymap", f"compvis/{component}", f"{module}:{attribute}Keys")]
    elif kind == "format":
        registered += [("keymap", f"{component}/unet", f"{module}:{attribute}Keys")]
    for of, name, target in registered:
        yield _call([of, name, target, "One line that says what it is."])


def _call(arguments: list[str]) -> str:
    """One registration, broken into lines as formatters break it."""
    quoted = [f'"{argument}"' for argument in arguments]
    whole = ", ".join(quoted)
    if len(line := f"    registry.add({whole})") <= LINE:
        return line
    inner = [f"        {whole}"]
    if len(inner[0]) > LINE:
        inner = [f"        {argument}," for argument in quoted]
    return "\n".join(["    registry.add(", *inner, "    )"])


def _layout(package: str, kind: str, component: str) -> dict[str, str]:
    """The plugin's files and their templates."""
    source = {f"{component}.yaml": "recipe.yaml"} if kind == "recipe" else {f"{kind}.py": f"{kind}.py"}
    return {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".github/workflows/tests.yml": "tests.yml",
        f"src/{package}/__init__.py": "__init__.py",
        f"src/{package}/plugin.py": "plugin.py",
        **{f"src/{package}/{file}": template for file, template in source.items()},
        **({} if kind == "recipe" else {"example.yaml": "example.yaml"}),
        f"tests/test_{package}.py": f"test_{kind}.py",
    }


def _filled(template: str, words: dict[str, str]) -> str:
    text = files("ldmkit.cli").joinpath("templates", f"{template}.template").read_text(encoding="utf-8")
    return Template(text).substitute(words)
