"""How far a long piece of work is: a bar on a terminal and in notebooks, a line now and then elsewhere; on
standard error. LDMKIT_QUIET in the environment, which `ldmkit --quiet` sets, turns all of it off;
LDMKIT_VERBOSE, which `ldmkit --verbose` sets, tells more."""

from __future__ import annotations

import os
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

QUIET, VERBOSE = "LDMKIT_QUIET", "LDMKIT_VERBOSE"
STARTED = time.monotonic()
"""About when the process began."""
LINE_EVERY = 30.0
"""Seconds between lines where standard error is no terminal."""


def quiet() -> bool:
    """Whether nothing but results is wanted."""
    return bool(os.environ.get(QUIET))


def verbose() -> bool:
    """Whether more than usual is wanted."""
    return bool(os.environ.get(VERBOSE)) and not quiet()


def timed(line: str) -> str:
    """A line of what is being done; with --verbose, behind the seconds since the process began."""
    return f"[{time.monotonic() - STARTED:7.1f} s] {line}" if verbose() else line


def bar(*more: ProgressColumn) -> Progress:
    """A bar with a description, how much is done, the time that is left, and `more`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, *more, console=Console(stderr=True, quiet=quiet()), disable=quiet())


def live(shown: Progress) -> bool:
    """Whether it is drawn as a bar: on a terminal or in a notebook."""
    return not quiet() and (shown.console.is_terminal or shown.console.is_jupyter)


class Meter:
    """Progress of `total` equal parts; `update` takes fractions of them."""

    def __init__(self, doing: str, total: int) -> None:
        self._doing, self._total = doing, total
        self._bar = bar()
        self._live = live(self._bar)
        self._task = self._bar.add_task(doing, total=total)
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Meter:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def update(self, done: float) -> None:
        """So many parts are done."""
        self._bar.update(self._task, completed=round(done, 1))
        now = time.monotonic()
        if self._live or now - self._told < LINE_EVERY or done == 0:
            return
        self._told = now
        left = (now - self._began) / done * (self._total - done)
        self._bar.console.print(f"{self._doing}: {int(done)} of {self._total}, about {left:.0f} s to go")
