"""Reuse of finished weights: checks that they are intact and were trained on the present data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ldmkit.checkpoint import RunStore, files
from ldmkit.checkpoint.origin import Origin, named_changes, read_origin
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.data import contents_of
from ldmkit.engine.parts import Parts
from ldmkit.engine.pretrained import encoders
from ldmkit.engine.stage_state import load_stage
from ldmkit.engine.versions import other_makers
from ldmkit.engine.weights import initial_weights, source_of, stage_folder
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.recipe.stages import STAGES, StageName
from ldmkit.types import Say

ACCEPT = "--accept-changed-data"
ANEW = "`ldmkit run --retrain` or `ldmkit train --restart`"


def use_weights(
    system: Parts, stage: StageName, path: Path, runs: Path, *, say: Say, data: bool, accept: bool
) -> None:
    """Loads a stage's finished weights and notes their digest in `system.weights`.

    Weights that were trained here have a record of what they were trained on, `made_from.json`. Raises
    UserError for a file that was altered since, and for a diffusion stage that was trained on the latents of
    other compression weights than the system's. data: whether to report data that have changed. accept: skip
    these checks.
    """
    digest = Sums(runs / system.recipe.name).of(path)
    if not accept:
        own = data and path.parent == stage_folder(system.recipe, system.registry, stage, runs)
        check_origin(system, stage, path, digest, data=system.dataset if own else None, say=say)
    load_stage(system, stage, path)
    system.weights[stage] = digest
    system.trained_on = files.about(path).get("data", system.trained_on)


def check_origin(
    system: Parts, name: str, path: Path, digest: str, *, data: Callable[[], Dataset] | None, say: Say
) -> None:
    """Compares the record of a stage's or adapter's training, if there is one, with what is there now.

    Says where it was trained by other versions of ldmkit or of the plugins that determine it. data: gives
    the data as they are now, to report changes; None: they are not compared. Raises as `use_weights`.
    """
    origin = read_origin(path.parent)
    if origin is not None:
        _check_whole(origin, digest, path)
        _check_neighbours(origin, system, str(path))
        if others := other_makers(path.parent, system, name):
            say(
                f"{name}: was trained by other versions than those that are installed: {others}; {ANEW} "
                f"trains it with these, `{ACCEPT}` keeps it without this line"
            )
        if data is not None:
            _tell_data(origin, data, name, path.parent, say)
            _tell_start(origin, system, name, path.parent, say)


def origin_of(
    system: Parts, name: str, store: RunStore, recipe: str, data: Dataset, *, accept: bool, say: Say
) -> Origin:
    """What the training of a stage or adapter is made from.

    recipe: the digest of the sections that determine it. UserError where the store's steps were trained from
    something else, unless `accept` is set.
    """
    now = replace(_now(system, name, recipe, data), start=_start(system, name, store.folder))
    before = read_origin(store.folder) if store.steps() else None
    if before is None:
        return now
    if not accept:
        _check_neighbours(before, system, str(store.folder))
        if before.stage_changed("start", now.start):
            raise UserError(
                f"{store.folder}: the weights that it started from have changed since: put them back, begin "
                f"anew with {ANEW}, or go on with `{ACCEPT}`"
            )
    changes = _changes(before, now, store.folder, data)
    if changes is None:
        return replace(now, before=before.before)
    if not accept:
        raise UserError(
            f"{store.folder}: its data have changed since its step {store.announced()[-1]} ({changes}): put "
            f"them back, begin anew with {ANEW}, or go on with `{ACCEPT}`"
        )
    say(f"{name}: goes on with changed data ({changes})")
    return before.accepted(now)


def _check_neighbours(origin: Origin, system: Parts, what: str) -> None:
    """UserError where a diffusion stage or an adapter was trained on other weights than the system's, or with
    other pretrained encoders."""
    if origin.stage_changed("compression", system.weights.get("compression")):
        of = "on the latents of other compression weights"
    elif origin.stage_changed("diffusion", system.weights.get("diffusion")):
        of = "on other diffusion weights"
    elif origin.encoders and (others := origin.encoders_changed(encoders(system))):
        of = f"with other pretrained weights of {', '.join(f'conditioners.{name}' for name in others)}"
    else:
        return
    raise UserError(
        f"{what} was trained {of} than those that are there now: put those back, begin anew with {ANEW}, or "
        f"go on with `{ACCEPT}`"
    )


def _now(system: Parts, name: str, recipe: str, data: Dataset) -> Origin:
    """What a training of a stage or an adapter would record if it began now."""
    now = Origin(recipe, data.digest, len(data), tuple(data.fields))
    if name == "compression":
        return now
    now = replace(now, compression=system.weights.get("compression"), encoders=encoders(system))
    return now if name == "diffusion" else replace(now, diffusion=system.weights.get("diffusion"))


def _check_whole(origin: Origin, digest: str, path: Path) -> None:
    if origin.weights not in (None, digest):
        raise UserError(
            f"{path} is not the file that its training wrote (its sha256 differs): put it back, begin anew "
            f"with {ANEW}, or use it as it is with `{ACCEPT}`"
        )


def _changes(before: Origin, now: Origin, folder: Path, data: Dataset) -> str | None:
    """What has changed in the data, by the examples' names where they are known; None where nothing has."""
    changes = before.data_changes(now)
    if changes is None:
        return None
    return named_changes(folder, contents_of(data)) or changes


def _start(system: Parts, name: str, folder: Path) -> str | None:
    """The sha256 of the file of a folder of weights that a stage starts from; None for weights that cannot
    change (they are pinned, or shipped), and where there are none.

    folder: of the stage's run.
    """
    recipe = system.recipe
    stage = next((one for one in STAGES if one == name and isinstance(source_of(recipe, one), str)), None)
    path = stage and initial_weights(recipe, system.registry, stage)
    return Sums(folder.parent).of(path) if path else None


def _tell_start(origin: Origin, system: Parts, name: str, folder: Path, say: Say) -> None:
    try:
        now = _start(system, name, folder)
    except UserError:  # they are gone: the finished weights need them no more
        return
    if origin.stage_changed("start", now):
        say(
            f"{name}: the weights that it started from have changed since it was trained: {ANEW} starts from "
            f"them, `{ACCEPT}` keeps it without this line"
        )


def _tell_data(origin: Origin, data: Callable[[], Dataset], name: str, folder: Path, say: Say) -> None:
    try:
        there = data()
        now = replace(origin, data=there.digest, pictures=len(there), fields=tuple(there.fields))
        changes = _changes(origin, now, folder, there)
    except UserError as error:
        say(f"{name}: its data cannot be compared with those that it was trained on ({error})")
        return
    if changes is not None:
        say(
            f"{name}: its data have changed since it was trained ({changes}): {ANEW} trains it on them, "
            f"`{ACCEPT}` keeps it without this line"
        )
