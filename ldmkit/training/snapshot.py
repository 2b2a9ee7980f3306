"""The content of a checkpoint, and restoring it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ldmkit.checkpoint import Snapshot
from ldmkit.engine.stage_state import restore
from ldmkit.errors import UserError
from ldmkit.training.ema import Average
from ldmkit.training.optim import optimizer_numbers, optimizer_state, restore_optimizer
from ldmkit.training.shared_tensors import part_of
from ldmkit.training.stage import Learner, TrainingStage


def capture(stage: TrainingStage, average: Average | None) -> dict[str, Mapping[str, Tensor]]:
    """The stage's tensors, the moving averages and the optimizers' states, by group."""
    optimizers = {
        f"{learner.name}/{key}": value
        for learner in stage.learners
        for key, value in optimizer_state(learner.optimizer, learner.parameters)
    }
    averages = {} if average is None else average.state()
    return {"model": stage.state(), "optimizer": optimizers, "ema": averages}


def numbers(stage: TrainingStage) -> dict[str, Any]:
    """What the optimizers keep besides tensors, by learner: for the checkpoint's JSON."""
    return {p.name: optimizer_numbers(p.optimizer, p.parameters) for p in stage.learners}


def recover(snapshot: Snapshot, stage: TrainingStage, average: Average | None) -> None:
    """The reverse of `capture`; UserError where the checkpoint is of another model."""
    restore(stage.state(), snapshot.tensors.get("model", {}), "checkpoint")
    if average is not None:
        _restore_average(average.state(), snapshot.tensors.get("ema", {}))
    first, *others = stage.learners
    tensors, kept = snapshot.tensors.get("optimizer", {}), snapshot.state.get("optimizers", {})
    for learner in stage.learners:
        # What no other learner's name claims is the first one's: it was called otherwise in earlier versions.
        names = {k.partition("/")[0] for k in tensors} | kept.keys()
        own = names - {p.name for p in others} if learner is first else {learner.name}
        moments = {k.partition("/")[2]: v for k, v in tensors.items() if k.partition("/")[0] in own}
        figures = {k: v for name in own for k, v in kept.get(name, {}).items()}
        _check_optimizer(learner, moments, needed=learner is first and not figures)
        restore_optimizer(learner.optimizer, learner.parameters, moments, figures)


def _restore_average(own: Mapping[str, Tensor], average: Mapping[str, Tensor]) -> None:
    """Restores the averages; each process takes its part where they are shared out."""
    parts = {n: part_of(x, own[n]) if n in own and own[n].shape == x.shape else x for n, x in average.items()}
    restore(own, parts, "checkpoint (ema)")


def _check_optimizer(learner: Learner, state: Mapping[str, Tensor], *, needed: bool) -> None:
    """UserError where the optimizer's state is of other parameters than the learner's, or is `needed` and
    missing: a learner that has not trained yet, and an optimizer that keeps no tensors, have none."""
    known = {key.rpartition(":")[0] for key in state}
    if known - learner.parameters.keys() or (needed and not known):
        raise UserError(f"checkpoint: the optimizer's state is not that of the {learner.name}'s parameters")
