"""`train_recipe`: what `ldmkit train` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ldmkit.engine.system import System, assemble
from ldmkit.engine.weights import StageName, find_weights, load_stage, stages_of
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.training.run import train_stage

Say = Callable[[str], None]


def train_recipe(
    source: str | Path, overrides: Sequence[str], runs: Path, *, stage: str | None, restart: bool, say: Say
) -> System:
    """Trains the recipe's stages, or the one named on the finished weights of those before it.

    A stage that the recipe does not train, or that is not asked for, takes the weights there are: UserError
    where there are none.
    """
    registry = host().registry
    recipe = resolve(load(source, overrides, registry), registry)
    system = assemble(recipe, registry)
    known = stages_of(recipe)
    if stage is not None and stage not in known:
        raise UserError(f"recipe '{recipe.name}' has no {stage} stage")
    for name in known:
        if stage in (None, name) and getattr(recipe.train, name) is not None:
            train_stage(system, name, runs, restart=restart, say=say)
        elif stage is None or known.index(name) < known.index(stage):
            _load(system, name, runs, say)
    return system


def _load(system: System, stage: StageName, runs: Path, say: Say) -> None:
    path = find_weights(system.recipe, system.registry, stage, runs)
    if path is None:
        raise UserError(f"recipe '{system.recipe.name}' has no weights for its {stage} stage: train it first")
    load_stage(system, stage, path)
    say(f"{stage}: {path}")
