"""SIGTERM and Ctrl-C during a training: the step is finished and saved, then the process ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(SystemExit):
    """A training was asked to stop and has saved; exit code 128 + signal: 130 for Ctrl-C, 143 for SIGTERM."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class Signal:
    """The signal that came, or 0. A second one is no longer held back."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def hold(self) -> None:
        """Installs handlers of SIGINT and SIGTERM, which only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}

    def release(self) -> None:
        """Restores the former handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.release()


@contextmanager
def held() -> Iterator[Signal]:
    """A context in which a signal is noted instead of ending the process."""
    noted = Signal()
    noted.hold()
    try:
        yield noted
    finally:
        noted.release()
