"""The one training loop: steps, averages, checkpoints, logs; both stages run in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

from accelerate import Accelerator

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.store import KEPT
from ldmkit.disk import DiskError, check_room
from ldmkit.training.callbacks import Callbacks
from ldmkit.training.collectives import sum_over_processes
from ldmkit.training.ema import Average
from ldmkit.training.interrupt import Interrupted, Signal, held
from ldmkit.training.progress import Reporter
from ldmkit.training.records import LOGGED_EVERY, Records
from ldmkit.training.shared_tensors import gathered
from ldmkit.training.snapshot import capture, numbers, recover
from ldmkit.training.stage import TrainingStage
from ldmkit.training.updates import Updates
from ldmkit.types import Say, TrainingRun


class Loop:
    """Trains one stage from its latest checkpoint to its last step.

    A step is one update of every optimizer from `options.batch` pictures, which the processes and the
    `accumulate` passes of each share out. What is random follows from (seed, step, position in the batch), so
    a checkpoint needs no generator's state, and neither resuming nor the number of processes changes a draw;
    only modules that draw by themselves (torch's dropout) draw by process.
    """

    def __init__(
        self,
        stage: TrainingStage,
        store: RunStore,
        accelerator: Accelerator,
        say: Say,
        callbacks: Callbacks | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> None:
        """recipe: as plain values, for callbacks, which the main process alone calls."""
        self._stage, self._store, self._accelerator, self._say = stage, store, accelerator, say
        self._callbacks, self._recipe = callbacks or Callbacks([], say), recipe or {}
        self._options = stage.options
        self._records = Records(stage, store, accelerator, self._callbacks)
        self._updates = Updates(stage, accelerator, self._records.means, store.folder)
        self._average = Average(stage.averaged(), stage.options.ema) if stage.options.ema else None

    def run(self) -> None:
        """Trains all remaining steps; then the weights to use are in the system and in the store."""
        self._check_room()
        start = self._resume()
        main = self._accelerator.is_main_process
        about = TrainingRun(self._recipe, self._stage.name, self._store.folder, start, self._options.steps)
        with (
            held() as signal,
            self._callbacks.watching(about),
            Reporter(self._stage.name, self._options.steps, start, self._say, main) as reporter,
        ):
            for step in range(start, self._options.steps):
                began = time.perf_counter()
                stop = self._stepped(step, start, signal)
                self._records.stepped(time.perf_counter() - began)
                reporter.step(step + 1)
                self._after(step + 1, stop, reporter)
            self._finish()
            self._heed(signal)

    def _stepped(self, step: int, start: int, signal: Signal) -> int:
        """The step; where its examples cannot be read, the steps before it are saved first."""
        try:
            return self.step(step, signal)
        except Exception:
            alone = self._accelerator.num_processes == 1  # else the others are further
            if self._updates.reading and alone and step > start and step not in self._store.steps():
                with suppress(DiskError):
                    self._save(step)
                    self._say(f"{self._stage.name}: stopped after step {step}, saved")
            raise

    def step(self, step: int, signal: Signal) -> int:
        """One update, and the average after it; the number of the signal that came, or 0."""
        stop = self._updates.update(step, signal)
        if self._average is not None:
            self._average.update(step + 1)
        return stop

    def _after(self, done: int, stop: int, reporter: Reporter) -> None:
        """Validates, draws, logs and saves where that is due after `done` steps."""
        options, last = self._options, done == self._options.steps
        if done % LOGGED_EVERY == 0 or last or stop:
            self._records.log(done, reporter)
        if done % options.checkpoint_every == 0 or last or stop:
            self._save(done)
        if stop:
            self._say(
                f"{self._stage.name}: stopped after step {done}, saved; the same command goes on from there"
            )
            raise Interrupted(stop)
        validated, shown = (done % n == 0 or last for n in (options.validate_every, options.picture_every))
        with self._average.applied() if self._average else nullcontext():
            if validated or shown:
                self._gather()
            if validated:
                self._records.validate(done)
            if shown and self._accelerator.is_main_process:
                self._records.show(done)

    def _gather(self) -> None:
        """Copies the trained weights into the stage where processes share them out."""
        for sharded in self._updates.sharded:
            sharded.gather()

    def _save(self, done: int) -> None:
        self._gather()
        main = self._accelerator.is_main_process
        groups = capture(self._stage, self._average)
        tensors = {name: gathered(group, keep=main) for name, group in groups.items()}
        if main:
            kept = {"optimizers": numbers(self._stage), "loss_scale": self._updates.precision.state()}
            self._store.save(done, tensors, {"seconds": self._records.seconds, **kept})
        self._accelerator.wait_for_everyone()

    def _check_room(self) -> None:
        """DiskError before the first step where the disk cannot hold the checkpoints to come."""
        model = sum(x.nbytes for x in self._stage.state().values())
        learned = sum(p.nbytes for learner in self._stage.learners for p in learner.parameters.values())
        average = 0 if self._average is None else learned
        # While a step is written the kept ones are there; AdamW keeps two moments; then come the weights.
        needed = (model + 2 * learned + average) + model + average
        there = bool(self._store.steps())
        if self._accelerator.is_main_process:
            check_room(self._store.folder, needed * (1 if there else KEPT + 1), "this training")

    def _resume(self) -> int:
        """Restores the latest whole checkpoint; returns the number of steps done."""
        snapshot = self._store.load(self._say if self._accelerator.is_main_process else lambda _: None)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            done = snapshot.step if snapshot else 0
            for later in self._store.rewind(done):
                self._say(f"{self._store.step_folder(later)} is removed: training goes on after step {done}")
        self._accelerator.wait_for_everyone()
        if snapshot is None:
            return 0
        recover(snapshot, self._stage, self._average)
        for sharded in self._updates.sharded:
            sharded.scatter()
        self._updates.precision.restore(snapshot.state.get("loss_scale", {}))
        self._records.go_on_after(float(snapshot.state.get("seconds", 0)))
        self._say(f"{self._stage.name}: going on after step {snapshot.step}")
        return snapshot.step

    def _heed(self, signal: Signal) -> None:
        """Raises Interrupted for a signal that came in the last validation or while weights were written."""
        stop = signal.number or int(sum_over_processes([float(signal.number)])[0])
        if stop:
            self._say(f"{self._stage.name}: finished; stopped before what follows it")
            raise Interrupted(stop)

    def _finish(self) -> None:
        """Leaves the weights to use in the system and writes them, the raw ones beside."""
        if self._average is not None:
            self._average.swap()
        self._gather()
        self._stage.complete()
        main = self._accelerator.is_main_process
        others = None if self._average is None else gathered(self._average.state(), keep=main)
        if main:
            weights = self._stage.weights()
            self._store.finish(weights, None if others is None else {**weights, **others})
        self._accelerator.wait_for_everyone()
