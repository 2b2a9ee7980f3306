"""All that a step's checkpoint holds, and putting it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ldmkit.checkpoint import Snapshot
from ldmkit.engine.stage_state import restore
from ldmkit.errors import UserError
from ldmkit.training.ema import Average
from ldmkit.training.optim import optimizer_numbers, optimizer_state, restore_optimizer
from ldmkit.training.stage import Player, TrainingStage


def capture(stage: TrainingStage, average: Average | None) -> dict[str, Mapping[str, Tensor]]:
    """The stage's tensors, the moving averages and the optimisers' states, by group."""
    optimizers = {
        f"{player.name}/{key}": value
        for player in stage.players
        for key, value in optimizer_state(player.optimizer, player.parameters)
    }
    averages = {} if average is None else average.state()
    return {"model": stage.state(), "optimizer": optimizers, "ema": averages}


def numbers(stage: TrainingStage) -> dict[str, Any]:
    """What the optimisers keep besides tensors, by player: for the checkpoint's JSON."""
    return {p.name: optimizer_numbers(p.optimizer, p.parameters) for p in stage.players}


def recover(snapshot: Snapshot, stage: TrainingStage, average: Average | None) -> None:
    """The reverse of `capture`; UserError where the checkpoint is of another model."""
    restore(stage.state(), snapshot.tensors.get("model", {}), "checkpoint")
    if average is not None:
        restore(average.state(), snapshot.tensors.get("ema", {}), "checkpoint (ema)")
    for player in stage.players:
        prefix = f"{player.name}/"
        own = {
            k.removeprefix(prefix): v
            for k, v in snapshot.tensors.get("optimizer", {}).items()
            if k.startswith(prefix)
        }
        kept = snapshot.state.get("optimizers", {}).get(player.name, {})
        _check_optimizer(player, own, needed=player is stage.players[0] and not kept)
        restore_optimizer(player.optimizer, player.parameters, own, kept)


def _check_optimizer(player: Player, state: Mapping[str, Tensor], *, needed: bool) -> None:
    """UserError where the optimiser's state is of other parameters than the player's, or is `needed` and
    missing: a player that has not trained yet, and an optimiser that keeps no tensors, have none."""
    known = {key.rpartition(":")[0] for key in state}
    if known - player.parameters.keys() or (needed and not known):
        raise UserError(f"checkpoint: the optimiser's state is not that of the {player.name}'s parameters")
