"""Recipes: YAML, overrides, validation, a frozen model. Nothing here imports torch by itself."""

from ldmkit.recipe.components import Component
from ldmkit.recipe.digests import digest, same_stage
from ldmkit.recipe.dump import dump
from ldmkit.recipe.model import Conditioning, Evaluate, Recipe, Sample, Sampling
from ldmkit.recipe.named import find_recipe, known_recipes
from ldmkit.recipe.read import load
from ldmkit.recipe.resolve import complete, resolve, resolve_component
from ldmkit.recipe.stages import CompressionTraining, DiffusionTraining, Stage, Train
from ldmkit.recipe.weights import Hub, Shipped

__all__ = [
    "Component",
    "CompressionTraining",
    "Conditioning",
    "DiffusionTraining",
    "Evaluate",
    "Hub",
    "Recipe",
    "Sample",
    "Sampling",
    "Shipped",
    "Stage",
    "Train",
    "complete",
    "digest",
    "dump",
    "find_recipe",
    "known_recipes",
    "load",
    "resolve",
    "resolve_component",
    "same_stage",
]
