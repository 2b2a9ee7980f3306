"""A training that begins anew beside others of its recipe says in which values they differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from warnings import warn

from ldmkit.checkpoint import RunStore
from ldmkit.errors import Note, shortened
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe, differing

COMPARED = 32
"""Other trainings of a recipe that are looked at, the newest first."""
NAMED = 4
"""Values that are named."""

Differences = dict[str, tuple[Any, Any]]


def note_differences(recipe: Recipe, registry: Registry, stage: str, store: RunStore) -> None:
    """Notes what differs from the nearest other training of the same stage or adapter, in one line.

    stage: as digests know it. Nothing where the store's own training has begun, and where no other one has
    got anywhere. The nearest is that with the fewest other values, the newest of several.
    """
    name = store.weights.stem
    if store.finished or store.steps():
        return
    kept = [p for p in store.folder.parent.glob(f"{name}-*/recipe.yaml") if _state(p.parent, name)]
    newest = sorted(kept, key=lambda path: -path.stat().st_mtime_ns)[:COMPARED]
    compared = [(differing(path, recipe, stage, registry), path.parent) for path in newest]
    others = [(values, folder) for values, folder in compared if values]
    if others:
        values, folder = min(others, key=lambda other: len(other[0]))
        line = f"{name}: begins anew: {folder} ({_state(folder, name)}) has {_listed(values)}"
        warn(Note(line), stacklevel=2)


def _state(folder: Path, name: str) -> str | None:
    """How far a training has come; None for one that has no step yet."""
    store = RunStore(folder, name)
    if store.finished:
        return "finished"
    steps = store.steps()
    return f"at step {steps[-1]}" if steps else None


def _listed(values: Differences) -> str:
    """The first of the differences, as a recipe would set the other one's."""
    words = [f"{path}={_word(there)} (here {_word(here)})" for path, (there, here) in values.items()]
    more = f" and {len(words) - NAMED} other values" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _word(value: Any) -> str:
    return "null" if value is None else shortened(str(value), 60)
