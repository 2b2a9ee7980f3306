"""How far a training is: a bar on a terminal, a line now and then elsewhere; means over steps for the log."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.progress import TextColumn
from torch import Tensor

from ldmkit.progress import Shown, bar, verbose
from ldmkit.types import Say

ANNOUNCED_AFTER = 20
"""Steps after which the whole training's time is told."""
SAID_EVERY = 60.0
"""Seconds between lines where there is no terminal."""


class Means:
    """Means of losses since the last call of `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the losses of a pass."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, Tensor]:
        """The means since the last call; the sums start again from zero."""
        means = {name: value / self._counts[name] for name, value in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means


class Reporter(Shown):
    """Reports the progress of a stage; silent on all processes but the main one."""

    def __init__(self, stage: str, steps: int, start: int, say: Say, main: bool) -> None:
        super().__init__(bar(TextColumn("{task.fields[losses]}")), visible=main)
        self._stage, self._steps, self._start, self._say, self._main = stage, steps, start, say, main
        self._began = self._said = time.monotonic()
        self._task = self._bar.add_task(stage, total=steps, completed=start, losses="")

    def step(self, done: int) -> None:
        """Called after each step; `done` is the number of steps so far."""
        self._bar.update(self._task, completed=done)
        if self._main and done - self._start == ANNOUNCED_AFTER:
            self._say(f"{self._stage}: {self._steps} steps, about {self._left(done)} to go")

    def losses(self, done: int, means: Mapping[str, float]) -> None:
        """Called after each line of the log."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        self._bar.update(self._task, losses=text)
        due = not self._live and time.monotonic() - self._said > SAID_EVERY
        if self._main and (due or verbose()):
            self._said = time.monotonic()
            self._say(f"{self._stage}: step {done} of {self._steps}, about {self._left(done)} to go; {text}")

    def _left(self, done: int) -> str:
        each = (time.monotonic() - self._began) / (done - self._start)
        return duration(each * (self._steps - done))


def duration(seconds: float) -> str:
    """A duration in words: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
