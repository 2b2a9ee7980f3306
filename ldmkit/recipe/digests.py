"""What determines a stage's output in a recipe: its fingerprint, and the comparison with a kept recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe.dump import flat, leaves
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.names import nothing
from ldmkit.recipe.read import load
from ldmkit.recipe.resolve import resolve
from ldmkit.recipe.yaml import read_file

SECTIONS = {
    "compression": ("data", "weights", "compression"),
    "diffusion": ("conditioners", "denoiser", "schedule", "objective"),
    "samples": ("sampler", "guidance"),
}
"""The sections of a recipe that determine an output, besides its training and the output before it."""
ADAPTERS = "adapters."
BEFORE = {"diffusion": "compression", "samples": "diffusion"}
"""The output that another one rests on."""
SAMPLE = ("size", "precision", "decoder")
"""Keys of `sample` that determine pictures."""
SIZE = "sample.size"
"""Compared as one value: the height means nothing without the width."""
UNDETERMINING = frozenset({"checkpoint_every", "validate_every", "picture_every", "compile", "fsdp"})
"""Keys of a training stage that never change its result."""
LATER: Mapping[str, Any] = {
    "optimizer": None,
    "lr_factors": {},
    "auxiliary": (),
    "distillation": None,
    "weights": None,
    "widen": False,
    "precision": "no",
    "crop": None,
    "only": None,
}
"""Keys of a training stage that early recipes did not have. They are left out of digests at their defaults,
so that folders of earlier trainings keep their names."""


def digest(recipe: Recipe, stage: str) -> str:
    """sha256, hexadecimal, of what determines `stage`: "compression", "diffusion", "samples", or the training
    of an adapter, "adapters.NAME".

    Of a resolved recipe: written-out defaults and omitted ones give the same digest. Prompts and seeds are no
    part of it: each picture carries its own.
    """
    part, before = _own(recipe, stage), _before(stage)
    if before is not None:
        part[before] = digest(recipe, before)
    canonical = json.dumps(part, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def same_stage(kept: Path, recipe: Recipe, stage: str, registry: Registry) -> bool:
    """Does the recipe of a file determine the same output of "compression" or "diffusion" as a resolved one?

    What determines it in the file is completed with today's defaults first, so that a parameter that a
    component has gained since changes nothing where the recipe leaves it at its default. A file that cannot
    be read, or names what is no longer there, is not the same.
    """
    try:
        old = load(_as_kept(kept, recipe, stage), (), registry)
        # Cheap, and imports no component: completing adds to a recipe, and changes nothing that it says.
        if not (_has(old, stage) and _within(_whole(old, stage), _whole(recipe, stage), registry)):
            return False
        return digest(resolve(old, registry, tell=nothing), stage) == digest(recipe, stage)
    except (UserError, OSError):
        return False


def differing(
    kept: Path, recipe: Recipe, stage: str, registry: Registry
) -> dict[str, tuple[Any, Any]] | None:
    """The values that determine a stage and differ between the recipe of a file and a resolved one.

    The file is completed as by `same_stage`. By dotted path: (in the file, in the resolved recipe), None for
    a value that one of them lacks. None for a file that cannot be read or completed.
    """
    try:
        old = load(_as_kept(kept, recipe, stage), (), registry)
        if not _has(old, stage):
            return None
        return changed(resolve(old, registry, tell=nothing), recipe, stage)
    except (UserError, OSError):
        return None


def changed(before: Recipe, after: Recipe, stage: str) -> dict[str, tuple[Any, Any]]:
    """The values that determine a stage, or "samples", and differ between two resolved recipes.

    By dotted path: (before, after), None for a value that one of them lacks.
    """
    there, here = (_by_path(one, stage) for one in (before, after))
    names = dict.fromkeys([*here, *there])
    pairs = {name: (there.get(name), here.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _by_path(recipe: Recipe, stage: str) -> dict[str, Any]:
    """What determines a stage and those before it, by dotted path in the recipe."""
    found: dict[str, Any] = {}
    for name in reversed([*_chain(stage)]):
        own = _own(recipe, name)
        placed = {name: own} if name.startswith(ADAPTERS) else {**own, f"train.{name}": own.get("train")}
        placed = {f"sample.{k}" if k in SAMPLE else k: value for k, value in placed.items()}
        placed.pop("train", None)
        for key, value in placed.items():
            found |= {key: value} if key == SIZE else dict(leaves(value, key))
    return found


def _has(recipe: Recipe, stage: str) -> bool:
    return not stage.startswith(ADAPTERS) or stage.removeprefix(ADAPTERS) in recipe.adapters


def _as_kept(kept: Path, recipe: Recipe, stage: str) -> dict[str, Any]:
    """The values of a recipe, with those that determine the stage replaced by the values of a file.

    The rest of the file, which may be out of date, does not count.
    """
    there = _values(kept, kept.stat().st_mtime_ns)
    if not isinstance(there, Mapping):
        return {}
    chain = [*_chain(stage)]
    sections = [key for name in chain for key in SECTIONS.get(name, ("adapters",))]
    others = {key: value for key, value in flat(recipe).items() if key not in sections}
    train = {name: (there.get("train") or {}).get(name) for name in chain if name in SECTIONS}
    return {**others, **{key: there[key] for key in sections if key in there}, "train": train}


@lru_cache(maxsize=64)
def _values(path: Path, _: int) -> Any:
    """The values of a recipe's file, read once as long as the file does not change."""
    return read_file(path)[0]


def _whole(recipe: Recipe, stage: str) -> dict[str, Any]:
    """What determines a stage, and nested in it what determines the stage that it stands on."""
    before = _before(stage)
    return {**_own(recipe, stage), **({before: _whole(recipe, before)} if before else {})}


def _chain(stage: str) -> Iterator[str]:
    """A stage, the stage that it stands on, and so on."""
    before: str | None = stage
    while before is not None:
        yield before
        before = _before(before)


def _before(stage: str) -> str | None:
    return "diffusion" if stage.startswith(ADAPTERS) else BEFORE.get(stage)


def _own(recipe: Recipe, stage: str) -> dict[str, Any]:
    """What determines a stage besides the stage that it stands on, as plain values."""
    if stage.startswith(ADAPTERS):
        return _adapter(recipe, stage.removeprefix(ADAPTERS))
    values = {name: flat(getattr(recipe, name)) for name in SECTIONS[stage]}
    if stage == "samples":
        adapters = {"adapters": flat(recipe.adapters)} if recipe.adapters else {}
        if recipe.sampler.reuse == 1:  # which earlier pictures do not say
            del values["sampler"]["reuse"]
        low = {"precision": recipe.sample.precision} if recipe.sample.precision != "no" else {}
        own = {"decoder": flat(recipe.sample.decoder)} if recipe.sample.decoder is not None else {}
        return {**values, "size": flat(recipe.sample.size), **adapters, **low, **own}
    training = flat(getattr(recipe.train, stage))
    return {**values, "train": training and {k: v for k, v in training.items() if _counts(k, v)}}


def _adapter(recipe: Recipe, name: str) -> dict[str, Any]:
    """What determines an adapter's training besides the system: its parameters, data and settings."""
    slot = recipe.adapters[name]
    training = flat(slot.train) or {}
    data = training.pop("data", None) or flat(recipe.data)
    settings = {k: v for k, v in training.items() if _counts(k, v)}
    return {"name": slot.name, **flat(slot.parameters), "data": data, "train": settings}


def _counts(key: str, value: Any) -> bool:
    return key not in UNDETERMINING and not (key in LATER and value == LATER[key])


def _within(old: Any, new: Any, registry: Registry) -> bool:
    """Whether `new` can say all that `old` says, and perhaps more.

    A bare name is a component of that name, which may be a former one; a key that `new` lacks may be a
    parameter's former name.
    """
    if isinstance(old, Mapping):
        if not isinstance(new, Mapping):
            return False
        return all(k not in new or _within(v, new[k], registry) for k, v in old.items())
    if isinstance(old, Sequence) and not isinstance(old, str):
        alike = isinstance(new, Sequence) and len(old) == len(new)
        return alike and all(_within(*pair, registry) for pair in zip(old, new, strict=True))
    name = new.get("name") if isinstance(new, Mapping) and isinstance(old, str) else new
    return bool(old == name) or (isinstance(old, str) and name in registry.current(old))
