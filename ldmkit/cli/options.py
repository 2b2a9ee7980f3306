"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def overrides(function: F) -> F:
    """`-s path=value`, again and again."""
    return click.option(
        "-s", "--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Replace a value of the recipe."
    )(function)


def runs(function: F) -> F:
    """Where trainings live."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("runs"),
        show_default=True,
        help="Folder of trainings and their outputs.",
    )(function)


def device(function: F) -> F:
    """Where the work is done."""
    return click.option(
        "--device", metavar="NAME", help="As cpu or cuda:1.  [default: the accelerator where there is one]"
    )(function)


def wait(function: F) -> F:
    """What to do where another process trains the same stage."""
    return click.option(
        "--wait", is_flag=True, help="Wait for a process that trains this recipe into the same folder."
    )(function)


def request(function: F) -> F:
    """What to make pictures of, and where to write them."""
    options = [
        click.option("--prompt", "prompts", multiple=True, help="A prompt; may be given again and again."),
        click.option(
            "--prompts-file",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help="A text file with a prompt a line.",
        ),
        click.option("--negative", help="What to steer away from."),
        click.option(
            "--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of the first picture; then one more each."
        ),
        click.option(
            "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the pictures."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def all_prompts(prompts: tuple[str, ...], prompts_file: Path | None) -> list[str]:
    """Prompts of the command line, then the file's lines that are not empty."""
    if prompts_file is None:
        return list(prompts)
    try:
        lines = prompts_file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{prompts_file} is not UTF-8 text ({error})") from error
    return [*prompts, *(line.strip() for line in lines if line.strip())]
