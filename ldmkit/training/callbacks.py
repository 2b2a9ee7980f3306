"""Callbacks observe a training: called one after another, apart from everything that decides its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import PIL.Image
import torch

from ldmkit.engine.components import build
from ldmkit.host.contained import contained, described, raised_by_it
from ldmkit.host.registry import Registry
from ldmkit.interfaces import Callback
from ldmkit.recipe.components import Component
from ldmkit.training.interrupt import Interrupted
from ldmkit.types import Outcome, Say, TrainingRun


def build_callbacks(registry: Registry, slots: Sequence[Component], say: Say) -> Callbacks:
    """The recipe's callbacks. Raises UserError for one that cannot be built."""
    with undisturbed():
        return Callbacks([(slot.name, build(registry, "callback", slot)) for slot in slots], say)


class Callbacks:
    """Named callbacks as one. One that raises is reported and dropped; generators keep their states."""

    def __init__(self, callbacks: Sequence[tuple[str, Callback]], say: Say) -> None:
        self._callbacks, self._say = list(callbacks), say

    @contextmanager
    def watching(self, run: TrainingRun) -> Iterator[None]:
        """A context for a training: callbacks hear of its beginning, and of its end however it ends."""
        self._tell(lambda callback: callback.begin(run))
        outcome: Outcome = "failed"
        try:
            yield
            outcome = "finished"
        except Interrupted:
            outcome = "stopped"
            raise
        finally:
            self._tell(lambda callback: callback.end(outcome))

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Passes the figures to each callback."""
        self._tell(lambda callback: callback.figures(step, dict(figures)))

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """Passes a copy of the picture to each callback."""
        self._tell(lambda callback: callback.picture(step, picture.copy()))

    def _tell(self, call: Callable[[Callback], None]) -> None:
        for name, callback in list(self._callbacks):
            try:
                with undisturbed():
                    call(callback)
            except BaseException as error:  # a stranger's code may raise anything
                if not raised_by_it(error):
                    raise
                self._callbacks.remove((name, callback))
                self._say(f"callback ({name}): {described(error)}; it is left out, the training goes on")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Puts back what a training's result depends on: random generators, those of accelerators among them,
    torch's threads, default type and gradient mode, the working directory, handlers of SIGINT and SIGTERM."""
    with torch.random.fork_rng(), torch.no_grad(), contained():
        yield
