"""The contract of a plugin's registration: call `check_registration` from a test of yours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click

from ldmkit.errors import UserError
from ldmkit.host.catalogue import WITHOUT_PARAMETERS
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry
from ldmkit.recipe import load, resolve
from ldmkit.recipe.named import recipe_file
from ldmkit.verbs import VERBS

LOADS_TORCH = """
import sys
from importlib.metadata import distribution
for point in distribution(sys.argv[1]).entry_points:
    if point.group == "ldmkit":
        point.load()
sys.exit("torch" in sys.modules)
"""


def check_registration(distribution: str) -> None:
    """Checks what an installed distribution registers, by the distribution's name.

    Each component must be importable, its summary must be one line, its parameters must have types and be
    explained under "Args:", and the module of the hook must not import torch. Raises AssertionError that
    lists all that is wrong.
    """
    loaded = host()
    problems = [b.error for b in loaded.broken if b.distribution == distribution]
    entries = [e for e in loaded.registry if e.distribution == distribution]
    if not entries and not problems:
        problems.append("registers nothing (is it installed?)")
    for entry in entries:
        problems += [f"{entry.kind} '{entry.name}': {problem}" for problem in _problems(entry)]
    if entries and subprocess.run([sys.executable, "-c", LOADS_TORCH, distribution]).returncode:
        problems.append("its hook's module imports torch: name components by reference")
    assert not problems, f"{distribution}: " + "; ".join(problems)


def _unbuilt(entry: Entry) -> Iterator[str]:
    """What is wrong with a verb or a recipe; weights are checked when they are used."""
    if entry.kind == "verb":
        if entry.name in VERBS:
            yield "ldmkit has a verb of this name, which goes before it"
        else:
            yield from _command(entry)
    if entry.kind == "recipe":
        path = recipe_file(entry)
        if path is None:
            yield f"there is no {entry.target}"
            return
        try:
            resolve(load(path), host().registry)
        except UserError as error:
            yield str(error)


def _command(entry: Entry) -> Iterator[str]:
    try:
        if not isinstance(entry.load(), click.Command):
            yield "is no click command"
    except Exception as error:
        yield f"cannot be imported: {type(error).__name__}: {error}"


def _problems(entry: Entry) -> Iterator[str]:
    if not entry.summary.strip() or "\n" in entry.summary:
        yield "its summary is not one line"
    if entry.kind in WITHOUT_PARAMETERS:
        yield from _unbuilt(entry)
        return
    try:
        fields = parameters_of(entry).model.model_fields
    except UserError as error:
        yield str(error)
        return
    silent = [name for name, field in fields.items() if not field.description]
    if silent:
        yield f"its docstring's Args: section says nothing of {', '.join(silent)}"
