"""Foreign code imported so that what it does to the process stays with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout

from ldmkit.errors import Note, shortened
from ldmkit.host.global_state import defaults_kept

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def contained() -> Iterator[None]:
    """A context in which what foreign code does to the process stays with it.

    What it prints goes to standard error; afterwards the working directory, the handlers of SIGINT and
    SIGTERM, the recursion limit and torch's defaults are as before.
    """
    before, limit, hook, errors = os.getcwd(), sys.getrecursionlimit(), sys.excepthook, sys.stderr
    handlers, path = [signal.getsignal(number) for number in SIGNALS], list(sys.path)
    try:
        with defaults_kept(), _output_as_errors():
            yield
    finally:
        os.chdir(before)
        sys.setrecursionlimit(limit)
        sys.excepthook, sys.stderr = hook, errors
        sys.path[:] = [*path, *(entry for entry in sys.path if entry not in path)]
        if threading.current_thread() is threading.main_thread():
            for number, handler in zip(SIGNALS, handlers, strict=True):
                signal.signal(number, handler)


@contextmanager
def _output_as_errors() -> Iterator[None]:
    """Within, what Python prints, and what programs and libraries of C write, goes to standard error."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError):  # one of the two is closed
        kept = None
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


@contextmanager
def unchanged(whose: str) -> Iterator[None]:
    """Afterwards environment variables and warning filters are as before; a note names what a plugin changed.

    Around the import of a plugin's registration alone: the libraries that a component imports set their own.
    whose: the distribution's name.
    """
    before, filters = dict(os.environ), list(warnings.filters)
    try:
        with warnings.catch_warnings():
            try:
                yield
            finally:
                words = [*_variables(before), *(["warning filters"] if warnings.filters != filters else [])]
    finally:
        os.environ.update(before)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
    if words:
        line = f"plugin {whose} changes {shortened(', '.join(words), 300)} when it is imported: put back"
        warnings.warn(Note(line), stacklevel=3)


def _variables(before: Mapping[str, str]) -> list[str]:
    """The names of the environment variables that have changed."""
    names = sorted({*before, *os.environ})
    return [name for name in names if before.get(name) != os.environ.get(name)]


def described(error: BaseException) -> str:
    """The error's class and message on one line. A stranger's error may fail to give its message."""
    return shortened(f"{type(error).__name__}: {text_of(error)}", 300)


def text_of(error: BaseException) -> str:
    """The error's text, on one line; an error may fail to say what it is."""
    try:
        return " ".join(str(error).split())
    except BaseException:
        return "(its text cannot be had)"


def raised_by_it(error: BaseException) -> bool:
    """Is it an error of the foreign code that was called, and neither Ctrl-C nor SIGTERM? `sys.exit` in a
    component is: only a command ends the program."""
    return isinstance(error, Exception) or type(error) is SystemExit
