"""What a recipe trains, by the names that a command line has for it: stages and adapters."""

from __future__ import annotations

from collections.abc import Collection

from ldmkit.engine.weights import stages_of
from ldmkit.errors import UserError, did_you_mean
from ldmkit.recipe import Recipe
from ldmkit.recipe.stages import StageName


def trained_by(recipe: Recipe) -> list[StageName]:
    """The stages that a recipe says how to train."""
    return [stage for stage in stages_of(recipe) if getattr(recipe.train, stage) is not None]


def named_stages(recipe: Recipe, stage: str | None) -> tuple[list[StageName], list[str]]:
    """The stages to look at, and the adapters to attach, where that one is to be trained; by default all.
    UserError for a name that is neither's."""
    stages, adapters = stages_of(recipe), list(recipe.adapters)
    known = [*stages, *adapters]
    if stage is None:
        return stages, adapters
    if stage not in known:
        near = did_you_mean(stage, known)
        raise UserError(f"recipe '{recipe.name}' has no stage '{stage}'; there are: {', '.join(known)}{near}")
    until = len(stages) if stage in adapters else known.index(stage) + 1
    return stages[:until], [stage] if stage in adapters else []


def trained_adapters(recipe: Recipe, adapters: Collection[str]) -> list[str]:
    """Those of the adapters that the recipe trains, whether or not they are finished."""
    slots = {name: recipe.adapters[name] for name in adapters}
    return [name for name, slot in slots.items() if slot.train and slot.weights is None]


def begun_anew(recipe: Recipe, adapters: Collection[str]) -> list[StageName]:
    """The stages that are trained whatever weights are there: those that the recipe trains; none where it
    trains any of the adapters, which stand on a model that there is."""
    return [] if trained_adapters(recipe, adapters) else trained_by(recipe)
