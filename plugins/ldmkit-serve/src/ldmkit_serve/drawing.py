"""One request drawn in a thread, so that the page shows how the picture forms and can stop it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch

import ldmkit
from ldmkit.pictures import to_pictures
from ldmkit.types import Latent

PREVIEWS = 6
"""Looks at the picture while it forms, about: each one costs a pass of the decoder."""


@dataclass(frozen=True)
class Step:
    """The share of the steps that is done, and the picture as far as it is, where it was decoded."""

    share: float
    picture: PIL.Image.Image | None
    finished: bool = False


class Stopped(Exception):
    """Raised in the drawing when the user has cancelled."""


def draw(system: ldmkit.System, request: Mapping[str, Any]) -> Iterator[Step]:
    """The steps of one picture, the finished one last; closing the iterator stops the drawing.

    `request` are arguments of `System.sample` for one picture. Raises what the sampling raises.
    """
    arrived: queue.Queue[Step | Exception] = queue.Queue()
    stopped, looks = threading.Event(), [0]

    def watch(share: float, clean: Latent) -> None:
        if stopped.is_set():
            raise Stopped
        shown = int(share * PREVIEWS) > looks[-1]
        looks.append(int(share * PREVIEWS))
        arrived.put(Step(share, _picture(system, clean) if shown else None))

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
