"""Says in which values a training that begins anew differs from earlier trainings of its recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from warnings import warn

from ldmkit.checkpoint import RunStore
from ldmkit.errors import Note, shortened
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe, differing

COMPARED = 32
"""How many other trainings of a recipe are compared, the newest first."""
NAMED = 4
"""How many differing values are named."""

Differences = dict[str, tuple[Any, Any]]


def note_differences(recipe: Recipe, registry: Registry, stage: str, store: RunStore) -> None:
    """Notes, in one line, how the nearest other training of the same stage or adapter differs.

    stage: its name in digests. Silent where the store has steps already, and where no other training has any.
    The nearest has the fewest differing values; of several it is the newest.
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
    steps = store.announced()
    return f"at step {steps[-1]}" if steps else None


def _listed(values: Differences) -> str:
    """The first of the differences, as a recipe would set the other one's."""
    words = [f"{path}={_word(there)} (here {_word(here)})" for path, (there, here) in values.items()]
    more = f" and {len(words) - NAMED} other values" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _word(value: Any) -> str:
    return "null" if value is None else shortened(str(value), 60)
