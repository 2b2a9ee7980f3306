"""A training continues from an existing one that differs only in having fewer steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ldmkit.checkpoint import RunStore
from ldmkit.engine.anew import note_differences
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe, TrainingSettings, same_stage
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.yaml import read_file
from ldmkit.types import Say


def begin(
    recipe: Recipe, registry: Registry, stage: str, store: RunStore, say: Say, *, dry: bool = False
) -> None:
    """Starts an empty store from the last step of a shorter training that is otherwise the same.

    Of several the longest counts. With a constant learning rate that step is where the longer training would
    be. Where the rate decays, it is not: nothing is taken over, and `say` reports what would be. Where
    nothing is taken over, other trainings of the recipe are named with what differs. stage: its name in
    digests. dry: report only.
    """
    options, name = _settings(recipe, stage), store.weights.stem
    candidates = [] if options is None or store.steps() else list(_shorter(recipe, registry, stage, store))
    step, folder = max(candidates, default=(0, store.folder))
    if options is None or not candidates:
        note_differences(recipe, registry, stage, store)
    elif options.decay != "constant":
        say(
            f"{name}: begins anew, since its learning rate decays over all {options.steps} steps; with "
            f"{'.'.join(_path(stage))}.decay=constant in both it would go on after step {step} of {folder}"
        )
    elif dry or store.adopt(RunStore(folder, name), step):
        say(f"{name}: takes over step {step} of {folder}, which differs in its number of steps alone")
    else:
        say(f"{name}: begins anew, since step {step} of {folder} is damaged")


def foretold(recipe: Recipe, registry: Registry, stage: str, store: RunStore) -> list[str]:
    """The lines that `begin` would say; nothing is taken over."""
    lines: list[str] = []
    begin(recipe, registry, stage, store, lines.append, dry=True)
    return lines


def _shorter(recipe: Recipe, registry: Registry, stage: str, store: RunStore) -> Iterator[tuple[int, Path]]:
    """(last step, folder) of each such training."""
    options, name = _settings(recipe, stage), store.weights.stem
    for kept in sorted(store.folder.parent.glob(f"{name}-*/recipe.yaml")):
        done = RunStore(kept.parent, name).steps()
        planned = _planned(kept, stage)
        if options and done and planned is not None and done[-1] <= planned < options.steps:
            shorter = _with_steps(recipe, stage, planned)
            if same_stage(kept, shorter, stage, registry):
                yield done[-1], kept.parent


def _path(stage: str) -> tuple[str, ...]:
    """The recipe's section that says how a stage or an adapter is trained."""
    adapter = stage.startswith(ADAPTERS)
    return ("adapters", stage.removeprefix(ADAPTERS), "train") if adapter else ("train", stage)


def _settings(recipe: Recipe, stage: str) -> TrainingSettings | None:
    if stage.startswith(ADAPTERS):
        return recipe.adapters[stage.removeprefix(ADAPTERS)].train
    settings: TrainingSettings | None = getattr(recipe.train, stage)
    return settings


def _planned(kept: Path, stage: str) -> int | None:
    """The number of steps that a run's recipe sets."""
    try:
        steps = read_file(kept)[0]
        for key in (*_path(stage), "steps"):
            steps = steps[key]
    except (UserError, LookupError, TypeError):
        return None
    return steps if isinstance(steps, int) else None


def _with_steps(recipe: Recipe, stage: str, steps: int) -> Recipe:
    settings = _settings(recipe, stage)
    assert settings is not None
    shorter, (part, name, *_) = settings.model_copy(update={"steps": steps}), _path(stage)
    if part == "train":
        return recipe.model_copy(update={"train": recipe.train.model_copy(update={name: shorter})})
    slot = recipe.adapters[name].model_copy(update={"train": shorter})
    return recipe.model_copy(update={"adapters": {**recipe.adapters, name: slot}})
