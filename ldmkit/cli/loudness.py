"""`--quiet` and `--verbose`, before a verb or behind it. Imports no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from copy import copy
from typing import Any

import click

from ldmkit.progress import QUIET, VERBOSE


def options() -> list[click.Parameter]:
    """The two options, for a command that does not know of them."""
    return [
        click.Option(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set(QUIET),
            help="Show results, notes and errors; no progress.",
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set(VERBOSE),
            help="Show the seconds, every line of a training's log, and what the libraries log.",
        ),
    ]  # fmt: skip


def with_options(command: click.Command) -> click.Command:
    """The command with both options, except those whose names it has itself; of a group, its commands."""
    if isinstance(command, click.Group):
        command.commands = {name: with_options(copy(one)) for name, one in command.commands.items()}
    else:
        own = {name for param in command.params for name in param.opts}
        command.params = [*command.params, *(one for one in options() if own.isdisjoint(one.opts))]
    return command


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], Any]:
    """Sets an environment variable until the command ends: child processes see it too."""

    def callback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and name not in os.environ:
            os.environ[name] = "1"
            ctx.find_root().call_on_close(lambda: os.environ.pop(name, None))
        if value and name == VERBOSE:
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

    return callback
