"""How a command ends that fails: one clear line and an exit code. Imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

import click

from ldmkit.disk import reason
from ldmkit.errors import Note, UserError, shortened

THEIRS, OURS, INTERRUPTED = 2, 1, 130
"""Exit codes: for what the user can mend, for a fault of ldmkit or of a plugin, for Ctrl-C."""
PASSED = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)
"""What click handles: wrong usage, --help, a reader that has gone (`ldmkit check x.yaml | head -1`)."""


@contextmanager
def reported(*, debug: bool) -> Iterator[None]:
    """A context that shows an error as lines `error: ...` and ends the process.

    Exit code 2 for what the user can mend, 1 for a bug. debug: show its traceback as well. SIGTERM ends the
    process so that half-written files are removed. A `Note` is shown as a line `note: ...`.
    """
    try:
        with _gentle(), _notes():
            yield
    except PASSED:
        raise
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except _Terminated:
        click.echo("terminated", err=True)
        raise
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        lines, code = described(error)
        for line in lines.splitlines():
            click.echo(f"error: {line}", err=True)
        sys.exit(code)


def check_working_directory() -> None:
    """UserError where the working directory has been removed: no relative path leads anywhere then."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working directory is no longer there: change to another one first") from None


def check_locale() -> None:
    """UserError where the locale cannot read the command line: its letters would be no text."""
    if (line := _narrow_locale()) and any("\udc80" <= x <= "\udcff" for word in sys.argv for x in word):
        raise UserError(line)


def _narrow_locale() -> str | None:
    """A message about a locale that lacks letters; None for one that has all."""
    if (encoding := sys.getfilesystemencoding()) == "utf-8":
        return None
    return (
        f"the locale's encoding, {encoding}, lacks letters of these arguments or names: set PYTHONUTF8=1, or "
        "a locale with UTF-8, as LC_ALL=C.UTF-8"
    )


def described(error: Exception) -> tuple[str, int]:
    """What an error says to a person, and the exit code."""
    if isinstance(error, UnicodeEncodeError) and (line := _narrow_locale()):
        return line, THEIRS
    if isinstance(error, UserError):
        return str(error), THEIRS
    if isinstance(error, OSError) and reason(error):
        return f"{shortened(str(error.filename or 'a file'), 600)}: {reason(error)}", THEIRS
    text = shortened(" ".join(str(error).split()), 600)
    if _out_of_memory(error, text):
        return f"not enough memory: use a smaller batch, size or model ({text or 'MemoryError'})", THEIRS
    if damaged := _damaged():
        return damaged, THEIRS
    message, whose = f"{type(error).__name__}: {text}", _plugin(error)
    if whose:
        return f"a plugin failed: {whose}: {message}; run `ldmkit --debug ...` to see how it came there", OURS
    return f"internal error: {message}; run `ldmkit --debug ...` to see where, and please report it", OURS


def _plugin(error: Exception) -> str | None:
    """The plugin that raised the error, where one did."""
    from ldmkit.host.blame import plugin_in
    from ldmkit.host.plugins import host

    try:
        return plugin_in(error, host().registry)
    except Exception:  # what ends the command may be the plugins themselves
        return None


def _damaged() -> str:
    """Which distribution's metadata end every program that asks for entry points, as torch does; else ""."""
    from ldmkit.host.points import Unreadable, installed_points

    damaged = [point for point in installed_points() if isinstance(point, Unreadable)]
    return "; ".join(f"{point.value}: {point.name}: install it again or remove it" for point in damaged)


def _out_of_memory(error: Exception, text: str) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(x in text for x in ("out of memory", "can't allocate memory"))
    )


@contextmanager
def _notes() -> Iterator[None]:
    """A context in which a `Note` is shown without the source line that Python adds to warnings."""
    others = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, Note):
            click.echo(f"note: {message}", err=True)
        else:
            others(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = others


@contextmanager
def _gentle() -> Iterator[None]:
    """A context in which SIGTERM raises SystemExit (code 143), unless it is handled already."""
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if ours:
        signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Terminated(SystemExit):
    """SIGTERM came while nothing else was done about it."""


def _end(number: int, frame: FrameType | None) -> None:
    raise _Terminated(128 + number)
