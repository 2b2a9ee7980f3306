"""The one training loop: steps, averages, checkpoints, logs; both stages run in it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.store import KEPT
from ldmkit.disk import check_room
from ldmkit.errors import UserError
from ldmkit.training.callbacks import Callbacks
from ldmkit.training.collectives import sum_over_processes
from ldmkit.training.draws import seed_modules, seed_of
from ldmkit.training.ema import Average
from ldmkit.training.interrupt import Interrupted, Signal, held
from ldmkit.training.joined import joined
from ldmkit.training.optim import rate, set_rate
from ldmkit.training.precision import Precision
from ldmkit.training.progress import Reporter
from ldmkit.training.records import LOGGED_EVERY, Records
from ldmkit.training.shared_tensors import gathered, local, total_norm, whole
from ldmkit.training.snapshot import capture, numbers, recover
from ldmkit.training.stage import Learner, TrainingStage
from ldmkit.types import Say, TrainingRun


class Loop:
    """Trains one stage from its latest checkpoint to its last step.

    A step is one update of every optimiser from `options.batch` pictures, which the processes and the
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
        """recipe: as plain values, for callbacks; which the main process alone calls."""
        self._stage, self._store, self._accelerator, self._say = stage, store, accelerator, say
        self._callbacks, self._recipe = callbacks or Callbacks([], say), recipe or {}
        self._options = stage.options
        self._rows = self._shares()
        self._precision = Precision(self._options.precision, accelerator.device)
        self._modules, self._sharded = joined(stage, accelerator, self._rows[0])
        for learner in stage.learners:
            learner.step.train()
        self._average = Average(stage.averaged(), stage.options.ema) if stage.options.ema else None
        self._records = Records(stage, store, accelerator, self._callbacks)

    def run(self) -> None:
        """All steps that are left; then the weights to use are in the system and in the store."""
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
                stop = self._step(step, signal)
                self._records.stepped(time.perf_counter() - began)
                reporter.step(step + 1)
                self._after(step + 1, stop, reporter)
            self._finish()
            self._heed(signal)

    def _shares(self) -> list[slice]:
        """This process's rows of a global batch, one slice a pass."""
        world, passes = self._accelerator.num_processes, self._options.accumulate
        size, left = divmod(self._options.batch, world * passes)
        if left or size == 0:
            raise UserError(
                f"train.{self._stage.name}: batch {self._options.batch} (what one step sees in all) does not "
                f"divide among {world} process(es) and accumulate {passes}"
            )
        firsts = [(i * world + self._accelerator.process_index) * size for i in range(passes)]
        return [slice(first, first + size) for first in firsts]

    def _step(self, step: int, signal: Signal) -> int:
        """One update, if all that it rests on is finite; the number of the signal that came, or 0."""
        pairs = zip(self._stage.learners, self._modules, strict=True)
        learners = [(p, m) for p, m in pairs if p.trains(step)]
        key = (self._options.seed, self._stage.name, step, self._accelerator.process_index)
        seed_modules(seed_of(*key), self._accelerator.device)
        totals = [torch.zeros((), device=self._accelerator.device) for _ in learners]
        for i, rows in enumerate(self._rows):
            self._pass(learners, step, rows, totals, last=i == len(self._rows) - 1)
        for learner, _ in learners:
            self._precision.unscale(learner.optimizer)
        norms = [_gradient_norm(learner) for learner, _ in learners]
        figures = totals if self._precision.scaled else [*totals, *map(whole, norms)]
        stop = self._agree(step, figures, signal)
        for (learner, _), norm in zip(learners, norms, strict=True):
            self._records.means.add({self._label(learner, "gradient"): whole(norm).nan_to_num(posinf=0)})
            self._update(learner, step, norm)
        if self._precision.scaled:
            self._rescale(step)
        self._check_weights(step, [p for p, _ in learners])
        if self._average is not None:
            self._average.update(step + 1)
        return stop

    def _pass(
        self,
        learners: Sequence[tuple[Learner, nn.Module]],
        step: int,
        rows: slice,
        totals: list[Tensor],
        last: bool,
    ) -> None:
        """Gradients of all learners from some rows of the batch."""
        batch, draws = self._stage.batch(step, rows)
        for i, (learner, module) in enumerate(learners):
            with self._synced(module, last):
                with self._precision.computing():
                    losses, handed = module(batch, draws)
                self._accelerator.backward(self._precision.scale(losses["loss"] / len(self._rows)))
            batch = {**batch, **handed}
            totals[i] += losses["loss"].detach()
            self._records.means.add({self._label(learner, name): value for name, value in losses.items()})

    def _synced(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over processes in a step's last pass alone."""
        for sharded in self._sharded:
            sharded.synced(last)
        return nullcontext() if last else self._accelerator.no_sync(module)

    def _label(self, learner: Learner, name: str) -> str:
        """The name of a loss in the log: other learners' losses get the learner's name as a prefix."""
        return name if learner is self._stage.learners[0] else f"{learner.name}_{name}"

    def _agree(self, step: int, figures: Sequence[Tensor], signal: Signal) -> int:
        """All-reduce before the update: is any value not finite, was any process signalled to stop?"""
        finite = bool(torch.stack([f.float() for f in figures]).isfinite().all())
        broken, stop = sum_over_processes([0.0 if finite else 1.0, float(signal.number)])
        if broken:
            raise self._not_finite("the loss or its gradient is", step)
        return signal.number or int(stop)

    def _check_weights(self, step: int, learners: Sequence[Learner]) -> None:
        """An update can overflow where loss and gradient did not: a huge rate, a second moment of 0.

        Where every process has the same weights, each finds the same without asking the others.
        """
        weights = [local(p.detach()) for learner in learners for p in learner.parameters.values()]
        broken = bool(weights) and not torch.stack(torch._foreach_norm(weights)).isfinite().all()
        if self._sharded:
            broken = bool(sum_over_processes([float(broken)])[0])
        if broken:
            raise self._not_finite("weights are", step)

    def _not_finite(self, what: str, step: int) -> UserError:
        return UserError(
            f"train.{self._stage.name}: {what} not finite at step {step + 1}: nothing of it was kept, "
            f"{self._store.folder} is as it was; lower lr or set clip"
        )

    def _update(self, learner: Learner, step: int, norm: Tensor) -> None:
        if self._options.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(learner.parameters.values(), self._options.clip, norm)
        set_rate(learner.optimizer, rate(self._options, step))
        self._precision.step(learner.optimizer)
        learner.optimizer.zero_grad(set_to_none=True)

    def _rescale(self, step: int) -> None:
        """The scale of fp16's losses for the next step; UserError where no scale lets gradients be finite."""
        scale = self._precision.update()
        self._records.means.add({"loss_scale": torch.tensor(scale)})
        if scale < 1:
            raise UserError(
                f"train.{self._stage.name}: gradients overflow in fp16 at step {step + 1}, whatever their "
                "scale; set precision to bf16 or no"
            )

    def _after(self, done: int, stop: int, reporter: Reporter) -> None:
        """What is due after `done` steps."""
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
        """The stage has the weights that learn, where it is a copy shared out that does."""
        for sharded in self._sharded:
            sharded.gather()

    def _save(self, done: int) -> None:
        self._gather()
        main = self._accelerator.is_main_process
        groups = capture(self._stage, self._average)
        tensors = {name: gathered(group, keep=main) for name, group in groups.items()}
        if main:
            kept = {"optimizers": numbers(self._stage), "loss_scale": self._precision.state()}
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
        """Puts the latest whole step back; the steps that are done."""
        snapshot = self._store.load(self._say if self._accelerator.is_main_process else lambda _: None)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            self._store.rewind(snapshot.step if snapshot else 0)
        self._accelerator.wait_for_everyone()
        if snapshot is None:
            return 0
        recover(snapshot, self._stage, self._average)
        for sharded in self._sharded:
            sharded.scatter()
        self._precision.restore(snapshot.state.get("loss_scale", {}))
        self._records.go_on_after(float(snapshot.state.get("seconds", 0)))
        self._say(f"{self._stage.name}: going on after step {snapshot.step}")
        return snapshot.step

    def _heed(self, signal: Signal) -> None:
        """A signal that came in the last validation or while the weights were written ends the command."""
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


def _gradient_norm(learner: Learner) -> Tensor:
    """The Euclidean norm of all of a learner's gradients."""
    gradients = [p.grad for p in learner.parameters.values() if p.grad is not None]
    return total_norm(gradients)
