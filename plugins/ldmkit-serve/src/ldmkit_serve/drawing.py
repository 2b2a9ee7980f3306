"""Draws one request in a thread, so that the page shows how the picture forms and can stop it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch

import ldmkit
from ldmkit.pictures import to_pictures
from ldmkit.types import Latent

PREVIEWS = 6
"""Looks at the picture while it forms, at most: each one costs a pass of the decoder."""
LOOK, TELL = 0.5, 0.1
"""Seconds at least between two looks at the picture, and between two words of progress, which cost the page's
time as well: a picture that takes no longer is shown when it is finished."""


@dataclass(frozen=True)
class Step:
    """The share of the steps that is done, in [0, 1], and the picture at that step where it was decoded."""

    share: float
    picture: PIL.Image.Image | None
    finished: bool = False


@dataclass
class Pace:
    """Decides how much of a drawing's progress is sent to the page. Times are of a monotonic clock, in
    seconds."""

    told: float
    looked: float
    looks: int = 0

    def look(self, share: float, now: float) -> bool:
        """Whether the picture is shown now; never after the last step, since the finished one follows."""
        early = int(share * PREVIEWS) <= self.looks or now - self.looked < LOOK
        if early or share >= 1:
            return False
        self.looks, self.looked = int(share * PREVIEWS), now
        return True

    def tell(self, now: float) -> bool:
        """Whether the share is told now."""
        if now - self.told < TELL:
            return False
        self.told = now
        return True


class Stopped(Exception):
    """Raised within the drawing when the user has cancelled it."""


def draw(system: ldmkit.System, request: Mapping[str, Any]) -> Generator[Step]:
    """The steps of one picture, the finished one last; closing the iterator stops the drawing.

    request: the arguments of `System.sample` for one picture. Raises what the sampling raises.
    """
    arrived: queue.Queue[Step | Exception] = queue.Queue()
    stopped, begun = threading.Event(), time.monotonic()
    pace = Pace(begun, begun)

    def watch(share: float, clean: Latent) -> None:
        if stopped.is_set():
            raise Stopped
        if pace.look(share, now := time.monotonic()):
            arrived.put(Step(share, _picture(system, clean)))
        elif pace.tell(now):
            arrived.put(Step(share, None))

    def work() -> None:
        try:
            (picture,) = system.sample(**request, callback=watch)
            arrived.put(Step(1.0, picture, finished=True))
        except Exception as error:
            arrived.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        yield from _until_finished(arrived)
    finally:
        stopped.set()


def _until_finished(arrived: queue.Queue[Step | Exception]) -> Iterator[Step]:
    while True:
        step = arrived.get()
        if isinstance(step, Exception):
            raise step
        yield step
        if step.finished:
            return


@torch.no_grad()
def _picture(system: ldmkit.System, clean: Latent) -> PIL.Image.Image:
    return to_pictures(system.compression.decode(clean[:1]))[0]
