"""`ldmkit new-plugin`: the skeleton of a plugin that works as it is."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from ldmkit.errors import UserError

KINDS = (
    *("sampler", "conditioner", "guidance", "loss", "compression", "regulariser", "denoiser", "schedule"),
    *(
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
    ),
    *("adapter", "verb", "recipe"),
)
"""Kinds with templates, KIND.py and test_KIND.py: all but those that are about published files."""
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
def command(name: str, kind: str, out: Path) -> None:
    """Write the plugin NAME, with one component that works and its test, into a folder of that name."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name.removeprefix("ldmkit-")):
        raise UserError(f"'{name}' cannot name a plugin: give lower-case words joined by hyphens")
    folder = out / name
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name or --out")
    words = _words(name, kind)
    for path, template in _layout(words["package"], kind, words["component"]).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(template, words), encoding="utf-8")
    click.echo(f"{folder} written: pip install -e {folder}, then pytest {folder / 'tests'}")


def _words(name: str, kind: str) -> dict[str, str]:
    """What the templates leave open."""
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
        "target": _target(
            name.replace("-", "_"), kind, component, identifier if kind in FUNCTIONS else title
        ),
    }


def _target(package: str, kind: str, component: str, attribute: str) -> str:
    """What the plugin registers."""
    return f"{package}/{component}.yaml" if kind == "recipe" else f"{package}.{kind}:{attribute}"


def _layout(package: str, kind: str, component: str) -> dict[str, str]:
    """The plugin's files and their templates."""
    source = {f"{component}.yaml": "recipe.yaml"} if kind == "recipe" else {f"{kind}.py": f"{kind}.py"}
    return {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{package}/__init__.py": "__init__.py",
        f"src/{package}/plugin.py": "plugin.py",
        **{f"src/{package}/{file}": template for file, template in source.items()},
        f"tests/test_{package}.py": f"test_{kind}.py",
    }


def _filled(template: str, words: dict[str, str]) -> str:
    text = files("ldmkit.cli").joinpath("templates", f"{template}.template").read_text(encoding="utf-8")
    return Template(text).substitute(words)
