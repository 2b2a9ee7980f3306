"""What trainings of stages and adapters share around the loop: the lock, and a record of their origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.lock import locked
from ldmkit.checkpoint.origin import Origin, read_origin, write_contents
from ldmkit.checkpoint.sums import Sums
from ldmkit.disk import TRAINING_CACHE
from ldmkit.engine.continuing import begin
from ldmkit.engine.data import contents_of
from ldmkit.engine.reuse import origin_of
from ldmkit.engine.system import System
from ldmkit.engine.versions import other_versions, versions
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.recipe import digest, dump
from ldmkit.recipe.dump import flat
from ldmkit.training.callbacks import build_callbacks
from ldmkit.training.loop import Loop
from ldmkit.training.stage import TrainingStage
from ldmkit.types import Say


@dataclass(frozen=True)
class Session:
    """One training in its folder, by all processes of a launcher together.

    name: of the stage or the adapter. section: its name in digests, an adapter's as "adapters.NAME". restart:
    discard what is there. accept: go on with data or weights that have changed since it began.
    """

    system: System
    name: str
    section: str
    store: RunStore
    accelerator: Accelerator
    say: Say
    restart: bool
    accept: bool

    @classmethod
    def of(
        cls,
        system: System,
        name: str,
        section: str,
        store: RunStore,
        *,
        restart: bool,
        accept: bool,
        say: Say,
    ) -> Session:
        """A training on the system's device; of several processes only the main one prints."""
        accelerator = accelerator_on(system.device)
        say = say if accelerator.is_main_process else lambda _: None
        return cls(system, name, section, store, accelerator, say, restart, accept)

    @property
    def caches(self) -> tuple[Path, Path]:
        """Where latents and text states are cached, and where earlier versions did."""
        return self.store.runs / TRAINING_CACHE, self.store.folder.parent / TRAINING_CACHE

    @contextmanager
    def alone(self, wait: bool) -> Iterator[None]:
        """A context in which no other process trains in the folder: UserError names the other one, unless
        `wait` is set."""
        with locked(self.store, wait, self.say) if self.accelerator.is_main_process else nullcontext():
            self.accelerator.wait_for_everyone()
            if self.restart:
                self._by_main(self.store.clear)
            yield
            self.accelerator.wait_for_everyone()

    def open(self, find_data: Callable[[], Dataset]) -> tuple[Dataset, Origin]:
        """Prepares the folder; returns the data and the record of what the training is made from.

        Unless it is to begin anew, it takes over a shorter training's last step. UserError where data or
        weights have changed since it began.
        """
        system, store = self.system, self.store
        with self.accelerator.local_main_process_first():  # which looks at files that the others then know
            data = find_data()
        if not self.restart:
            self._by_main(lambda: begin(system.recipe, system.registry, self.section, store, self.say))
        made_by = digest(system.recipe, self.section)
        origin = origin_of(system, self.name, store, made_by, data, accept=self.accept, say=self.say)
        self.accelerator.wait_for_everyone()
        if store.steps() and (others := other_versions(store.folder, versions(system))):
            self.say(f"{self.name}: goes on with other versions than it began with: {others}")
        self.accelerator.wait_for_everyone()
        self._by_main(lambda: _record(system, store, origin, data))
        return data, origin

    def run(self, stage: TrainingStage, origin: Origin) -> None:
        """Trains all remaining steps, then records the digest of the finished weights."""
        slots = self.system.recipe.train.callbacks if self.accelerator.is_main_process else ()
        callbacks = build_callbacks(self.system.registry, slots, self.say)
        Loop(stage, self.store, self.accelerator, self.say, callbacks, flat(self.system.recipe)).run()
        self._by_main(lambda: self._seal(origin))

    def _seal(self, origin: Origin) -> None:
        weights = Sums(self.store.folder.parent).remember(self.store.weights)
        replace(origin, weights=weights).write(self.store.folder)

    def _by_main(self, work: Callable[[], None]) -> None:
        """Runs a function on the main process, for which the others wait."""
        if self.accelerator.is_main_process:
            work()
        self.accelerator.wait_for_everyone()


def accelerator_on(device: torch.device) -> Accelerator:
    """The Accelerator that joins a launcher's processes. UserError where it is configured for fp16."""
    # Without an accelerator a launcher's processes find each other only where the CPU is asked for by name.
    accelerator = Accelerator(cpu=device.type == "cpu")
    if accelerator.mixed_precision == "fp16":
        raise UserError(
            "accelerate is set to fp16, whose loss scaling belongs into checkpoints: set it to no, and "
            "`precision: fp16` in the recipe's training"
        )
    return accelerator


def _record(system: System, store: RunStore, origin: Origin, data: Dataset) -> None:
    """Writes the recipe, the versions and the contents of the data into the run folder; of data that it has
    recorded already, the contents are not asked for again."""
    store.open(dump(system.recipe), versions(system))
    recorded = read_origin(store.folder)
    if recorded is None or recorded.data != origin.data:
        write_contents(store.folder, contents_of(data))
    origin.write(store.folder)
