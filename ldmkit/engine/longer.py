"""A training continues from an existing one that differs only in having fewer steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ldmkit.checkpoint import RunStore
from ldmkit.engine.anew import note_differences
from ldmkit.engine.stage_state import StageName
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe, same_stage
from ldmkit.recipe.yaml import read_file
from ldmkit.types import Say


def begin(
    recipe: Recipe, registry: Registry, stage: StageName, store: RunStore, say: Say, *, dry: bool = False
) -> None:
    """Gives a store without steps the last step of the longest training that differs from the recipe's in
    having fewer steps alone; notes where a training begins anew beside others, and what differs.

    With a constant learning rate that is the step at which the longer training would be. Where the rate
    decays, the step's weights have seen another one: nothing is taken over, and `say` is told what would be.
    dry: takes nothing over, and says the same.
    """
    options = getattr(recipe.train, stage)
    candidates = [] if options is None or store.steps() else list(_shorter(recipe, registry, stage, store))
    step, folder = max(candidates, default=(0, store.folder))
    if not candidates:
        note_differences(recipe, registry, stage, store)
    elif options.decay != "constant":
        say(
            f"{stage}: begins anew, since its learning rate decays over all {options.steps} steps; with "
            f"train.{stage}.decay=constant in both it would go on after step {step} of {folder}"
        )
    elif dry or store.adopt(RunStore(folder, stage), step):
        say(f"{stage}: takes over step {step} of {folder}, which differs in its number of steps alone")
    else:
        say(f"{stage}: begins anew, since step {step} of {folder} is damaged")


def _shorter(
    recipe: Recipe, registry: Registry, stage: StageName, store: RunStore
) -> Iterator[tuple[int, Path]]:
    """(last step, folder) of each such training."""
    steps = getattr(recipe.train, stage).steps
    for kept in sorted(store.folder.parent.glob(f"{stage}-*/recipe.yaml")):
        done = RunStore(kept.parent, stage).steps()
        planned = _planned(kept, stage)
        if done and planned is not None and done[-1] <= planned < steps:
            shorter = _with_steps(recipe, stage, planned)
            if same_stage(kept, shorter, stage, registry):
                yield done[-1], kept.parent


def _planned(kept: Path, stage: StageName) -> int | None:
    """The number of steps that a run's recipe sets."""
    try:
        steps = read_file(kept)[0]["train"][stage]["steps"]
    except (UserError, LookupError, TypeError):
        return None
    return steps if isinstance(steps, int) else None


def _with_steps(recipe: Recipe, stage: StageName, steps: int) -> Recipe:
    options = getattr(recipe.train, stage).model_copy(update={"steps": steps})
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={stage: options})})
