"""A training continues from an existing one that differs only in having fewer steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ldmkit.checkpoint import RunStore
from ldmkit.engine.differences import note_differences
from ldmkit.engine.reuse import ANEW
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe, TrainingSettings, same_stage
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.yaml import read_file
from ldmkit.types import Say


def begin(
    recipe: Recipe, registry: Registry, stage: str, store: RunStore, say: Say, *, dry: bool = False
) -> None:
    """Starts an empty store from the newest whole step of shorter trainings that are otherwise the same.

    With a constant learning rate that step is where the longer training would be. Where the rate decays, it
    is not: nothing is taken over, and `say` reports what would be. It names damaged steps that are passed
    over. Where nothing is taken over, other trainings of the recipe are named with what differs. stage: its
    name in digests. dry: report only. UserError where there are steps and every one of them is damaged.
    """
    options, name = _settings(recipe, stage), store.weights.stem
    none = options is None or store.steps()
    steps = [] if none else sorted(_shorter(recipe, registry, stage, store, say), reverse=True)
    if options is None or not steps:
        note_differences(recipe, registry, stage, store)
    elif options.decay != "constant":
        step, folder = steps[0]
        say(
            f"{name}: begins anew, since its learning rate decays over all {options.steps} steps; with "
            f"{'.'.join(_path(stage))}.decay=constant in both it would go on after step {step} of {folder}"
        )
    else:
        step, folder = _newest_whole(steps, name, say)
        if not dry:
            store.adopt(RunStore(folder, name), step)
        say(f"{name}: takes over step {step} of {folder}, which differs in its number of steps alone")


def foretold(recipe: Recipe, registry: Registry, stage: str, store: RunStore) -> list[str]:
    """The lines that `begin` would say; nothing is taken over."""
    lines: list[str] = []
    begin(recipe, registry, stage, store, lines.append, dry=True)
    return lines


def _shorter(
    recipe: Recipe, registry: Registry, stage: str, store: RunStore, say: Say
) -> Iterator[tuple[int, Path]]:
    """(step, folder) of all steps of such trainings; names what only looks like a step of theirs."""
    options, name = _settings(recipe, stage), store.weights.stem
    for kept in sorted(store.folder.parent.glob(f"{name}-*/recipe.yaml")):
        other, planned = RunStore(kept.parent, name), _planned(kept, stage)
        if options is None or not other.steps() or planned is None or planned >= options.steps:
            continue
        if same_stage(kept, _with_steps(recipe, stage, planned), stage, registry):
            steps = [step for step in other.announced() if step <= planned]
            for stray in sorted({*other.steps()} - {*steps}):
                say(f"{other.step_folder(stray)} is left aside: it is no finished step of that training")
            yield from ((step, kept.parent) for step in steps)


def _newest_whole(steps: Sequence[tuple[int, Path]], name: str, say: Say) -> tuple[int, Path]:
    """The first of the steps, newest first, that is whole."""
    for step, folder in steps:
        other = RunStore(folder, name)
        wrong = other.damage(step)
        if wrong is None:
            return step, folder
        say(f"{other.step_folder(step)} is damaged ({wrong})")
    folders = ", ".join(dict.fromkeys(str(folder) for _, folder in steps))
    raise UserError(
        f"{folders}: every step that {name} could go on from is damaged: put them back from a copy, or begin "
        f"anew with {ANEW}"
    )


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
