"""Stages trained where they have no weights, or anew: what `ldmkit train` and `ldmkit run` do first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from pathlib import Path

from ldmkit.engine.adapters import give_adapters, refuse_adapter
from ldmkit.engine.opening import assembled, give_weights, refuse, running_as_asked
from ldmkit.engine.system import System
from ldmkit.engine.weights import StageName
from ldmkit.training.adapter import train_adapter
from ldmkit.training.run import train_stage
from ldmkit.types import Say
from ldmkit.verbs.check import before_training, trained_by
from ldmkit.verbs.report.remembered import keep_sample
from ldmkit.verbs.stages import begun_anew, named_stages, trained_adapters


def ready(
    source: str | Path,
    overrides: Sequence[str],
    runs: Path,
    *,
    retrain: bool,
    say: Say,
    wait: bool = False,
    accept: bool = False,
    any_size: bool = False,
    device: str | None = None,
    before: Callable[[System], None] | None = None,
) -> System:
    """The recipe's system with weights: those found, or trained now; `say` tells which.

    retrain: what the recipe trains is trained again, see `begun_anew`. wait: for another process that trains
    here. before: called with the assembled system, to refuse what could not be done after a training.
    accept: data and weights that have changed since. any_size: train what memory may not hold.
    """
    system = assembled(source, overrides, device)
    if before is not None:
        before(system)
    look = cache(partial(before_training, system, any_size=any_size))

    def train(system: System, stage: StageName) -> None:
        if getattr(system.recipe.train, stage) is None:
            refuse(system, stage)
        look()
        train_stage(system, stage, runs, restart=stage in anew, wait=wait, accept=accept, say=say)
        keep_sample(system, stage, runs)

    anew = begun_anew(system.recipe, list(system.recipe.adapters)) if retrain else []
    give_weights(system, runs, without=train, anew=anew, say=say, data=True, accept=accept)
    _adapt(system, runs, say, restart=retrain, wait=wait, accept=accept)
    return running_as_asked(system, say)


def train_recipe(
    source: str | Path,
    overrides: Sequence[str],
    runs: Path,
    *,
    stage: str | None,
    restart: bool,
    say: Say,
    wait: bool = False,
    accept: bool = False,
    any_size: bool = False,
    device: str | None = None,
) -> System:
    """Trains the stages that the recipe trains, whether or not a plugin ships their weights; or the one named
    alone, on the weights of those before it.

    stage: "compression", "diffusion", or an adapter's name. A recipe that trains adapters stands on a model
    that there is: its stages are trained, or begun anew, only where they have no weights. A stage that is not
    trained takes the weights there are: UserError where there are none.
    """
    system = assembled(source, overrides, device)
    look = cache(partial(before_training, system, any_size=any_size))
    stages, adapters = named_stages(system.recipe, stage)
    learned = [name for name in trained_by(system.recipe) if stage in (None, name)]
    anew = [name for name in begun_anew(system.recipe, adapters) if name in learned]

    def train(system: System, name: StageName) -> None:
        if name not in learned:
            refuse(system, name)
        look()
        again = restart and name in anew
        train_stage(system, name, runs, restart=again, wait=wait, accept=accept, say=say)
        keep_sample(system, name, runs)

    give_weights(system, runs, without=train, stages=stages, anew=anew, say=say, data=True, accept=accept)
    _adapt(system, runs, say, names=adapters, restart=restart, wait=wait, accept=accept)
    return system.eval()


def _adapt(
    system: System,
    runs: Path,
    say: Say,
    *,
    restart: bool,
    wait: bool,
    accept: bool,
    names: Collection[str] | None = None,
) -> None:
    """Attaches the recipe's adapters, by default all; those without weights are trained, with `restart` all
    that say how."""
    slots = system.recipe.adapters
    names = list(slots) if names is None else names
    anew = trained_adapters(system.recipe, names) if restart else []

    def train(system: System, name: str) -> None:
        if slots[name].train is None:
            refuse_adapter(system, name)
        train_adapter(system, name, runs, restart=name in anew, wait=wait, accept=accept, say=say)

    give_adapters(system, runs, without=train, names=names, anew=anew, say=say, data=True, accept=accept)
