"""How far a long piece of work is: a bar on a terminal and in notebooks, a line now and then elsewhere; on
standard error. LDMKIT_QUIET in the environment, which `ldmkit --quiet` sets, turns all of it off;
LDMKIT_VERBOSE, which `ldmkit --verbose` sets, tells more."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

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
    # Imported here: `ldmkit --help` reads this module and draws nothing.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, *more, console=Console(stderr=True, quiet=quiet()), disable=quiet())


def live(shown: Progress) -> bool:
    """Whether it is drawn as a bar: on a terminal. In notebooks it would need ipywidgets."""
    return not quiet() and shown.console.is_terminal and not shown.console.is_jupyter


def _in_notebook(doing: str, total: int) -> Any:
    """tqdm's bar: a widget where there is ipywidgets, else text."""
    module = "tqdm.notebook" if find_spec("ipywidgets") else "tqdm"
    return import_module(module).tqdm(desc=doing, total=total, file=sys.stderr)


class Shown:
    """A bar, drawn within the context where `live` says so and `wanted` is true."""

    def __init__(self, shown: Progress, *, visible: bool = True) -> None:
        self._bar, self._live = shown, visible and live(shown)

    def __enter__(self) -> Self:
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()


class Meter(Shown):
    """Progress of `total` equal parts; `update` takes fractions of them."""

    def __init__(self, doing: str, total: int) -> None:
        super().__init__(bar())
        self._doing, self._total = doing, total
        self._task = self._bar.add_task(doing, total=total)
        notebook = self._bar.console.is_jupyter and not quiet()
        self._in_notebook = _in_notebook(doing, total) if notebook else None
        self._began = self._told = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._draw(self._total)
        super().__exit__(kind, error, trace)
        if self._in_notebook is not None:
            self._in_notebook.close()

    def update(self, done: float) -> None:
        """So many parts are done."""
        self._draw(round(done, 1))
        now = time.monotonic()
        if self._live or self._in_notebook is not None or now - self._told < LINE_EVERY or done == 0:
            return
        self._told = now
        left = (now - self._began) / done * (self._total - done)
        self._bar.console.print(f"{self._doing}: {int(done)} of {self._total}, about {left:.0f} s to go")

    def _draw(self, done: float) -> None:
        self._bar.update(self._task, completed=done)
        if self._in_notebook is not None:
            self._in_notebook.n = done
            self._in_notebook.refresh()
