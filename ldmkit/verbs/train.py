"""Stages trained where they have no weights, or anew: what `ldmkit train` and `ldmkit run` do first.

What a training needs is imported where one begins: a command that finds all weights does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

from ldmkit.engine import plans
from ldmkit.engine.adapters import give_adapters, refuse_adapter
from ldmkit.engine.input_checks import check_inputs
from ldmkit.engine.opening import assembled, give_weights, refuse, running_as_asked
from ldmkit.engine.requests import check_texts, inputs_of
from ldmkit.engine.system import System
from ldmkit.recipe.stages import StageName
from ldmkit.types import Say
from ldmkit.verbs.arguments import Terms
from ldmkit.verbs.stages import begun_anew, named_stages, trained_adapters, trained_by


def ready(
    source: str | Path,
    overrides: Sequence[str],
    terms: Terms,
    *,
    retrain: bool,
    say: Say,
    before: Callable[[System], None] | None = None,
) -> System:
    """The recipe's system with weights: those found, or trained now; `say` tells which.

    retrain: what the recipe trains is trained again, see `begun_anew`. before: called with the assembled
    system, to refuse what could not be done after a training.
    """
    system = assembled(source, overrides, terms.device)
    if before is not None:
        before(system)
    anew = begun_anew(system.recipe, list(system.recipe.adapters)) if retrain else []
    train = _stage_training(system, terms, say, trained_by(system.recipe), restarted=anew)
    give_weights(system, terms.runs, without=train, anew=anew, say=say, data=True, accept=terms.accept)
    _adapt(system, terms, say, list(system.recipe.adapters), restart=retrain)
    return running_as_asked(system, say)


def train_recipe(
    source: str | Path,
    overrides: Sequence[str],
    terms: Terms,
    *,
    stage: str | None,
    restart: bool,
    say: Say,
) -> System:
    """Trains the stages that the recipe trains, whether or not a plugin ships their weights; or the one named
    alone, on the weights of those before it.

    stage: "compression", "diffusion", or an adapter's name. A recipe that trains adapters stands on a model
    that there is: its stages are trained, or begun anew, only where they have no weights. A stage that is not
    trained takes the weights there are: UserError where there are none.
    """
    system = assembled(source, overrides, terms.device)
    stages, adapters = named_stages(system.recipe, stage)
    learned = [name for name in trained_by(system.recipe) if stage in (None, name)]
    anew = [name for name in begun_anew(system.recipe, adapters) if name in learned]
    train = _stage_training(system, terms, say, learned, restarted=anew if restart else ())
    give_weights(
        system, terms.runs, without=train, stages=stages, anew=anew, say=say, data=True, accept=terms.accept
    )
    _adapt(system, terms, say, adapters, restart=restart)
    return system.eval()


def _stage_training(
    system: System,
    terms: Terms,
    say: Say,
    learned: Collection[StageName],
    *,
    restarted: Collection[StageName],
) -> Callable[[System, StageName], None]:
    """What trains a stage that has no weights, after one look at the whole recipe; it refuses those that are
    not `learned`."""

    @cache
    def look() -> None:
        from ldmkit.verbs.check import before_training

        before_training(system, any_size=terms.any_size)
        if "diffusion" in learned:
            _check_shown(system)

    def train(system: System, stage: StageName) -> None:
        if stage not in learned:
            refuse(system, stage)
        look()
        from ldmkit.training.run import train_stage
        from ldmkit.verbs.report.remembered import keep_sample

        again = stage in restarted
        train_stage(system, stage, terms.runs, restart=again, wait=terms.wait, accept=terms.accept, say=say)
        keep_sample(system, stage, terms.runs)

    return train


def _check_shown(system: System) -> None:
    """UserError for the recipe's own inputs where the pictures that its training shows could not be drawn."""
    inputs = inputs_of(system)
    check_texts(system, inputs)
    if inputs.raw:
        check_inputs(system, plans.plan(system), inputs)


def _adapt(system: System, terms: Terms, say: Say, names: Collection[str], *, restart: bool) -> None:
    """Attaches these adapters and trains those without weights; with `restart`, all that the recipe
    trains."""
    slots = system.recipe.adapters
    anew = trained_adapters(system.recipe, names) if restart else []

    def train(system: System, name: str) -> None:
        if slots[name].train is None:
            refuse_adapter(system, name)
        from ldmkit.training.adapter import train_adapter

        again = name in anew
        train_adapter(system, name, terms.runs, restart=again, wait=terms.wait, accept=terms.accept, say=say)

    give_adapters(
        system, terms.runs, without=train, names=names, anew=anew, say=say, data=True, accept=terms.accept
    )
