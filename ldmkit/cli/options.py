"""Options that several verbs share."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from ldmkit.cli import completing
from ldmkit.cli.requested import REQUEST, Size, all_fields, all_prompts, request
from ldmkit.disk import check_writable
from ldmkit.progress import quiet, timed
from ldmkit.verbs.arguments import Terms

__all__ = [
    "REQUEST",
    "Size",
    "accept",
    "all_fields",
    "all_prompts",
    "any_size",
    "check_out",
    "device",
    "json_output",
    "overrides",
    "request",
    "running",
    "runs",
    "say",
    "say_aside",
    "start",
    "terms",
    "wait",
    "write_json",
]

F = TypeVar("F", bound=Callable[..., Any])
"""A command; casts say that what an option wraps is one still."""


def say(line: str) -> None:
    """Prints a line about what is being done to standard output; nothing with --quiet."""
    if not quiet():
        click.echo(timed(line))


def say_aside(line: str) -> None:
    """Prints such a line to standard error, where standard output is for programs."""
    if not quiet():
        click.echo(timed(line), err=True)


def json_output(function: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")(function)


def write_json(value: Any) -> None:
    """One JSON value on standard output."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def overrides(function: F) -> F:
    """`-s path=value`, any number of times."""
    return click.option(
        "-s", "--set", "overrides", multiple=True, metavar="PATH=VALUE",
        help="Replace a value of the recipe.", shell_complete=completing.override,
    )(function)  # fmt: skip


def runs(function: F) -> F:
    """`--runs`, the folder of trainings."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        show_default=True,
        help="Folder of trainings and their outputs.",
    )(function)


def start(function: F) -> F:
    """`--from`, what a training starts from, as an override of the recipe's `weights`."""

    @functools.wraps(function)
    def gathered(*, start: str | None, overrides: tuple[str, ...], **rest: Any) -> Any:
        if start is not None:
            folder = Path(start).expanduser()
            shipped = not folder.exists() and folder.name == start
            weights = {"recipe": start} if shipped else str(folder.absolute())
            overrides = (f"weights={json.dumps(weights)}", *overrides)
        return function(overrides=overrides, **rest)

    return click.option(
        "--from", "start", metavar="NAME|FOLDER",
        help="Start from the weights shipped for a recipe, or from a folder of weights or trainings.",
    )(cast(F, gathered))  # fmt: skip


def running(function: F) -> F:
    """`--precision` and `--compile`, as overrides of the recipe's `sample` section."""

    @functools.wraps(function)
    def gathered(*, precision: str | None, compile: bool, overrides: tuple[str, ...], **rest: Any) -> Any:
        running = [f"sample.precision={precision}"] if precision else []
        running += ["sample.compile=true"] if compile else []
        return function(overrides=(*overrides, *running), **rest)

    command: Any = click.option(
        "--compile", is_flag=True, help="Compile the denoiser; says what that takes and saves."
    )(gathered)
    choice = click.Choice(["no", "bf16", "auto"])
    return cast(F, click.option("--precision", type=choice, help="Of the denoiser.  [default: no]")(command))


def device(function: F) -> F:
    """`--device`, the device to work on."""
    return click.option(
        "--device", metavar="NAME", help="As cpu or cuda:1.  [default: the accelerator where there is one]"
    )(function)


def wait(function: F) -> F:
    """`--wait`, for a process that trains the same stage."""
    return click.option(
        "--wait", is_flag=True, help="Wait for a process that trains this recipe into the same folder."
    )(function)


def terms(function: F) -> F:
    """How trainings are run, as one argument `terms`."""

    @functools.wraps(function)
    def gathered(
        *, runs: Path, device: str | None, wait: bool, accept: bool, any_size: bool, **rest: Any
    ) -> Any:
        return function(terms=Terms(runs, device, wait, accept, any_size), **rest)

    command = cast(F, gathered)
    for option in (any_size, accept, wait, device, runs):
        command = option(command)
    return command


def any_size(function: F) -> F:
    """`--any-size`, which goes on where memory is too small."""
    return click.option(
        "--any-size", is_flag=True, help="Do not refuse what takes more memory than this machine has."
    )(function)


def check_out(out: Path | None) -> None:
    """DiskError where pictures could not be written into `--out`, before there are any."""
    if out is not None:
        check_writable(out, "--out")


def accept(function: F) -> F:
    """`--accept-changed-data`, which goes on where data or weights have changed since a training began."""
    return click.option(
        "--accept-changed-data",
        "accept",
        is_flag=True,
        help="Go on with data, or weights of the first stage, that have changed since the training.",
    )(function)
