"""Adapters of a system: attached once its weights are in place, with weights of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from warnings import warn

import torch

from ldmkit.checkpoint import RunStore, files
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.components import build
from ldmkit.engine.data import read_by
from ldmkit.engine.reuse import check_origin
from ldmkit.engine.stage_state import restore
from ldmkit.engine.system import System
from ldmkit.engine.weights import run_folder, shipped
from ldmkit.errors import UserError
from ldmkit.interfaces import Adapter, Dataset
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.stages import AdapterTraining
from ldmkit.types import Say

Without = Callable[[System, str], None]
"""Called for an adapter that has no weights, after it was attached, with its name."""


def give_adapters(
    system: System,
    runs: Path,
    *,
    without: Without,
    say: Say,
    names: Collection[str] | None = None,
    anew: Collection[str] = (),
    data: bool = False,
    accept: bool = False,
) -> None:
    """Attaches the recipe's adapters in order, each with its weights and strength; merges those that say so.

    Calls `without` for an adapter that has no weights, with those before it switched off. names: the adapters
    to attach, by default all. anew: adapters whose weights are not looked for. data: whether to report data
    that have changed since the training. accept: skip these checks. Raises UserError for an adapter that was
    trained here on other weights than the system's.
    """
    slots = {n: slot for n, slot in system.recipe.adapters.items() if names is None or n in names}
    for name in slots:
        adapter = attach(system, name)
        path = None if name in anew else find_adapter(system, name, runs)
        if path is None:
            without(system, name)
        else:
            if not accept:
                _check_trained(system, name, path, runs, data=data, say=say)
            restore(dict(adapter.state()), files.read_safetensors(path), str(path))
            say(f"adapter {name}: reused {path}")
        adapter.set_strength(0.0)
    for name, slot in slots.items():
        system.adapters[name].set_strength(slot.strength)
    for name in [n for n, slot in slots.items() if slot.merge]:
        system.adapters.pop(name).merge()


def merged(system: System) -> list[str]:
    """Makes all adapters part of the system's weights, each at its strength; a line for each."""
    names = [*system.adapters]
    for name in names:
        system.adapters.pop(name).merge()
    strengths = {name: system.recipe.adapters[name].strength for name in names}
    return [f"adapter {name}: part of the weights, at strength {s:g}" for name, s in strengths.items()]


def _check_trained(system: System, name: str, path: Path, runs: Path, *, data: bool, say: Say) -> None:
    """Compares what a training of this adapter recorded with the system and the data as they are now."""
    slot = system.recipe.adapters[name]
    if slot.weights is None and slot.train is not None and path == adapter_run(system, name, runs).weights:
        now = partial(adapter_data, system, slot.train) if data else None
        check_origin(system, name, path, Sums(path.parent.parent).of(path), data=now, say=say)


def adapter_data(system: System, options: AdapterTraining) -> Dataset:
    """The adapter's data set, by default the recipe's."""
    if options.data is None:
        return system.dataset()
    data: Dataset = build(system.registry, "data", options.data)
    return read_by(data, system.named_conditioners())


def attach(system: System, name: str, seed: int = 0) -> Adapter:
    """Attaches the recipe's adapter of that name, untrained; its initial weights are drawn from the seed."""
    slot = system.recipe.adapters[name]
    adapter: Adapter = build(system.registry, "adapter", slot)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            adapter.attach(system, name)
        except ValueError as error:
            raise UserError(f"adapters.{name} ({slot.name}): {error}") from error
    system.adapters[name] = adapter
    return adapter


def adapter_run(system: System, name: str, runs: Path) -> RunStore:
    """The run folder of an adapter's training."""
    folder = run_folder(system.recipe, system.registry, f"{ADAPTERS}{name}", name, runs)
    return RunStore(folder, name)


def find_adapter(system: System, name: str, runs: Path) -> Path | None:
    """The adapter's weights file: the recipe's, else that of a finished training, else what a plugin ships
    for this training, else None."""
    slot = system.recipe.adapters[name]
    if slot.weights is None:
        if slot.train is None:
            return None
        store = adapter_run(system, name, runs)
        if store.finished:
            return store.weights
        return shipped(system.recipe, system.registry, f"{ADAPTERS}{name}", name)
    path = system.recipe.located(slot.weights)
    if not path.is_file():
        raise UserError(f"adapters.{name}: no file {path}")
    return path


def refuse_adapter(system: System, name: str) -> None:
    """Raises UserError: the adapter has no weights."""
    trains = system.recipe.adapters[name].train is not None
    way_out = "train it with `ldmkit run`" if trains else f"add adapters.{name}.weights or .train"
    raise UserError(f"recipe '{system.recipe.name}' has no weights for its adapter {name}: {way_out}")


def warn_of_adapter(system: System, name: str) -> None:
    """Leaves the adapter without effect, with a warning."""
    warn(f"recipe '{system.recipe.name}': no weights for its adapter {name}; train it", stacklevel=4)
