"""Reuse of finished weights: checks that they are intact and were trained on the present data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ldmkit.checkpoint import RunStore, files
from ldmkit.checkpoint.origin import Origin, named_changes, read_origin
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.data import contents_of
from ldmkit.engine.frozen import encoders
from ldmkit.engine.parts import Parts
from ldmkit.engine.stage_state import StageName, load_stage
from ldmkit.engine.weights import stage_folder
from ldmkit.errors import UserError
from ldmkit.types import Say

ACCEPT = "--accept-changed-data"
ANEW = "`ldmkit run --retrain` or `ldmkit train --restart`"


def use_weights(
    system: Parts, stage: StageName, path: Path, runs: Path, *, say: Say, data: bool, accept: bool
) -> None:
    """Loads a stage's finished weights and notes their digest in `system.weights`.

    Of weights that a training has left, `made_from.json` says what they were made from. Raises UserError for
    a file that was altered since, and for a diffusion stage of other compression weights than the system's:
    its latents are not theirs. `data`: whether to tell of data that have changed. accept: all of that is
    known.
    """
    digest, origin = Sums(runs / system.recipe.name).of(path), read_origin(path.parent)
    if origin is not None and not accept:
        _check_whole(origin, digest, path)
        if stage == "diffusion":
            _check_neighbours(origin, system, str(path))
        if data and path.parent == stage_folder(system.recipe, system.registry, stage, runs):
            _tell_data(origin, system, stage, path.parent, say)
    load_stage(system, stage, path)
    system.weights[stage] = digest
    system.trained_on = files.about(path).get("data", system.trained_on)


def origin_of(
    system: Parts, stage: StageName, store: RunStore, recipe: str, *, accept: bool, say: Say
) -> Origin:
    """The origin of the stage's training; recipe: the digest of the sections that determine it.

    UserError where the store's steps were trained from something else, unless that is accepted.
    """
    now = _now(system, stage, recipe)
    before = read_origin(store.folder) if store.steps() else None
    if before is None:
        return now
    if not accept:
        _check_neighbours(before, system, str(store.folder))
    changes = _changes(before, now, store.folder, system)
    if changes is None:
        return replace(now, before=before.before)
    if not accept:
        raise UserError(
            f"{store.folder}: its data have changed since its step {store.steps()[-1]} ({changes}): put them "
            f"back, begin anew with {ANEW}, or go on with `{ACCEPT}`"
        )
    say(f"{stage}: goes on with changed data ({changes})")
    return before.accepted(now)


def _check_neighbours(origin: Origin, system: Parts, what: str) -> None:
    """UserError where a diffusion stage was trained on other compression weights than the system's, or with
    other pretrained encoders."""
    if origin.compression_changed(system.weights.get("compression")):
        of = "on the latents of other compression weights"
    elif origin.encoders and (others := origin.encoders_changed(encoders(system))):
        of = f"with other pretrained weights of {', '.join(f'conditioners.{name}' for name in others)}"
    else:
        return
    raise UserError(
        f"{what} was trained {of} than those that are there now: put those back, begin anew with {ANEW}, or "
        f"go on with `{ACCEPT}`"
    )


def _now(system: Parts, stage: StageName, recipe: str) -> Origin:
    """What a training of the stage would be made from now."""
    data = system.dataset()
    now = Origin(recipe, data.digest, len(data), tuple(data.fields))
    if stage == "compression":
        return now
    return replace(now, compression=system.weights.get("compression"), encoders=encoders(system))


def _check_whole(origin: Origin, digest: str, path: Path) -> None:
    if origin.weights not in (None, digest):
        raise UserError(
            f"{path} is not the file that its training wrote (its sha256 differs): put it back, begin anew "
            f"with {ANEW}, or use it as it is with `{ACCEPT}`"
        )


def _changes(before: Origin, now: Origin, folder: Path, system: Parts) -> str | None:
    """What has changed in the data, by the examples' names where they are known; None for nothing."""
    changes = before.data_changes(now)
    if changes is None:
        return None
    return named_changes(folder, contents_of(system.dataset())) or changes


def _tell_data(origin: Origin, system: Parts, stage: StageName, folder: Path, say: Say) -> None:
    try:
        changes = _changes(origin, _now(system, stage, origin.recipe), folder, system)
    except UserError as error:
        say(f"{stage}: its data cannot be compared with those that it was trained on ({error})")
        return
    if changes is not None:
        say(
            f"{stage}: its data have changed since it was trained ({changes}): {ANEW} trains it on them, "
            f"`{ACCEPT}` keeps it without this line"
        )
