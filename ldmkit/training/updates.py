"""One update of every learner from a global batch, which processes and passes share out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ldmkit.errors import UserError
from ldmkit.training.collectives import sum_over_processes
from ldmkit.training.draws import seed_modules, seed_of
from ldmkit.training.interrupt import Signal
from ldmkit.training.joined import joined
from ldmkit.training.optim import rate, set_rate
from ldmkit.training.precision import Precision
from ldmkit.training.progress import Means
from ldmkit.training.shared_tensors import local, total_norm, whole
from ldmkit.training.stage import Learner, TrainingStage


class Updates:
    """The updates of a stage, one for each step.

    precision: the arithmetic, and fp16's loss scale. sharded: the learners whose weights are shared out.
    reading: whether a step reads its first examples, and has changed nothing yet.
    """

    def __init__(self, stage: TrainingStage, accelerator: Accelerator, means: Means, folder: Path) -> None:
        """means: takes the losses and gradients of each step. folder: of the training's checkpoints."""
        self._stage, self._accelerator, self._means, self._folder = stage, accelerator, means, folder
        self._options = stage.options
        self._rows = self._shares()
        self.precision = Precision(self._options.precision, accelerator.device)
        self._modules, self.sharded = joined(stage, accelerator, self._rows[0])
        self.reading = False
        for learner in stage.learners:
            learner.step.train()

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

    def update(self, step: int, signal: Signal) -> int:
        """One update, unless a loss or gradient is not finite; returns the number of the signal that came, or
        0."""
        pairs = zip(self._stage.learners, self._modules, strict=True)
        learners = [(p, m) for p, m in pairs if p.trains(step)]
        key = (self._options.seed, self._stage.name, step, self._accelerator.process_index)
        seed_modules(seed_of(*key), self._accelerator.device)
        totals = [torch.zeros((), device=self._accelerator.device) for _ in learners]
        for i, rows in enumerate(self._rows):
            self._pass(learners, step, rows, totals, last=i == len(self._rows) - 1)
        for learner, _ in learners:
            self.precision.unscale(learner.optimizer)
        norms = [_gradient_norm(learner) for learner, _ in learners]
        figures = totals if self.precision.scaled else [*totals, *map(whole, norms)]
        stop = self._agree(step, figures, signal)
        for (learner, _), norm in zip(learners, norms, strict=True):
            self._means.add({self._label(learner, "gradient"): whole(norm).nan_to_num(posinf=0)})
            self._update(learner, step, norm)
        if self.precision.scaled:
            self._rescale(step)
        self._check_weights(step, [p for p, _ in learners])
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
        self.reading = rows is self._rows[0]
        batch, draws = self._stage.batch(step, rows)
        self.reading = False
        for i, (learner, module) in enumerate(learners):
            with self._synced(module, last):
                with self.precision.computing():
                    losses, handed = module(batch, draws)
                self._accelerator.backward(self.precision.scale(losses["loss"] / len(self._rows)))
            batch = {**batch, **handed}
            totals[i] += losses["loss"].detach()
            self._means.add({self._label(learner, name): value for name, value in losses.items()})

    def _synced(self, module: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over processes in a step's last pass alone."""
        for sharded in self.sharded:
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
        if self.sharded:
            broken = bool(sum_over_processes([float(broken)])[0])
        if broken:
            raise self._not_finite("weights are", step)

    def _not_finite(self, what: str, step: int) -> UserError:
        return UserError(
            f"train.{self._stage.name}: {what} not finite at step {step + 1}: nothing of it was kept, "
            f"{self._folder} is as it was; lower lr or set clip"
        )

    def _update(self, learner: Learner, step: int, norm: Tensor) -> None:
        if self._options.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(learner.parameters.values(), self._options.clip, norm)
        set_rate(learner.optimizer, rate(self._options, step))
        self.precision.step(learner.optimizer)
        learner.optimizer.zero_grad(set_to_none=True)

    def _rescale(self, step: int) -> None:
        """The scale of fp16's losses for the next step; UserError where no scale lets gradients be finite."""
        scale = self.precision.update()
        self._means.add({"loss_scale": torch.tensor(scale)})
        if scale < 1:
            raise UserError(
                f"train.{self._stage.name}: gradients overflow in fp16 at step {step + 1}, whatever their "
                "scale; set precision to bf16 or no"
            )


def _gradient_norm(learner: Learner) -> Tensor:
    """The Euclidean norm of all of a learner's gradients."""
    gradients = [p.grad for p in learner.parameters.values() if p.grad is not None]
    return total_norm(gradients)
