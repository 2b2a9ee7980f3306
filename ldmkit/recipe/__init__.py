"""Recipes: YAML, overrides, validation, a frozen model. Nothing here imports torch by itself."""

from typing import Any
from warnings import warn

from ldmkit.recipe.components import Component
from ldmkit.recipe.digests import changed, differing, digest, same_stage
from ldmkit.recipe.dump import dump
from ldmkit.recipe.model import ConditionerSlot, Evaluate, Recipe, Sample, SamplerSlot
from ldmkit.recipe.named import find_recipe, known_recipes
from ldmkit.recipe.read import load
from ldmkit.recipe.resolve import complete, resolve, resolve_component
from ldmkit.recipe.stages import CompressionTraining, DiffusionTraining, Train, TrainingSettings
from ldmkit.recipe.weights import Hub, Shipped

__all__ = [
    "Component",
    "CompressionTraining",
    "ConditionerSlot",
    "DiffusionTraining",
    "Evaluate",
    "Hub",
    "Recipe",
    "Sample",
    "SamplerSlot",
    "Shipped",
    "Train",
    "TrainingSettings",
    "changed",
    "complete",
    "differing",
    "digest",
    "dump",
    "find_recipe",
    "known_recipes",
    "load",
    "resolve",
    "resolve_component",
    "same_stage",
]

FORMER = {"Conditioning": ConditionerSlot, "Sampling": SamplerSlot, "Stage": TrainingSettings}
"""Former names of what is here."""


def __getattr__(name: str) -> Any:
    """The object of a former name, with a DeprecationWarning that gives its present one."""
    if name not in FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = f"ldmkit.recipe.{name} is now called {FORMER[name].__name__}"
    warn(message, DeprecationWarning, stacklevel=2)
    return FORMER[name]
