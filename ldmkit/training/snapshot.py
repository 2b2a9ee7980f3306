"""All that a step's checkpoint holds, and putting it back."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ldmkit.checkpoint import Snapshot
from ldmkit.engine.stage_state import restore
from ldmkit.training.ema import Average
from ldmkit.training.optim import optimizer_state, restore_optimizer
from ldmkit.training.stage import TrainingStage


def capture(stage: TrainingStage, average: Average | None) -> dict[str, Mapping[str, Tensor]]:
    """The stage's tensors, the moving averages and the optimisers' states, by group."""
    optimizers = {
        f"{player.name}/{key}": value
        for player in stage.players
        for key, value in optimizer_state(player.optimizer, player.parameters)
    }
    averages = {} if average is None else average.state()
    return {"model": stage.state(), "optimizer": optimizers, "ema": averages}


def recover(snapshot: Snapshot, stage: TrainingStage, average: Average | None) -> None:
    """The reverse of `capture`; UserError where the checkpoint is of another model."""
    restore(stage.state(), snapshot.tensors["model"], "checkpoint")
    if average is not None:
        restore(average.state(), snapshot.tensors["ema"], "checkpoint (ema)")
    for player in stage.players:
        prefix = f"{player.name}/"
        own = {
            k.removeprefix(prefix): v
            for k, v in snapshot.tensors["optimizer"].items()
            if k.startswith(prefix)
        }
        restore_optimizer(player.optimizer, player.parameters, own)
