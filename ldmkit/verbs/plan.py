"""What `ldmkit run --dry-run` tells: what would be reused and trained, and what that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ldmkit.checkpoint import RunStore
from ldmkit.engine import sizes
from ldmkit.engine.adapters import adapter_run, find_adapter
from ldmkit.engine.conditions import merged_spec
from ldmkit.engine.continuing import foretold
from ldmkit.engine.opening import learns
from ldmkit.engine.system import System
from ldmkit.engine.weights import find_weights, stage_folder, stages_of
from ldmkit.errors import UserError
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.stages import StageName
from ldmkit.training.progress import duration
from ldmkit.types import Condition
from ldmkit.verbs.check import demands, inspect, on_disk
from ldmkit.verbs.stages import begun_anew, trained_adapters

PASSES = 3
"""Passes that are timed, after one that is not."""
TOKENS = 32
"""Length of the conditions' tokens in a pass that is timed."""


def plan(system: System, runs: Path, *, retrain: bool = False) -> Iterator[str]:
    """A line for each stage and adapter, then what the whole takes. Times training steps; writes nothing."""
    recipe = system.recipe
    anew = begun_anew(recipe, list(recipe.adapters)) if retrain else []
    for stage in stages_of(recipe):
        options = getattr(recipe.train, stage)
        path = None if stage in anew else find_weights(recipe, system.registry, stage, runs)
        if path is not None:
            yield f"{stage}: would be reused, {path}"
        elif not learns(system, stage):
            yield f"{stage}: has nothing to learn"
        elif options is None:
            raise UserError(f"{stage}: has no weights and is not trained: add train.{stage} or `weights`")
        else:
            folder = stage_folder(recipe, system.registry, stage, runs)
            seconds = options.steps * options.accumulate * _step(system, stage, options.batch)
            yield f"{stage}: would be trained in {folder}: {options.steps} steps, about {duration(seconds)}"
            if stage not in anew:
                yield from foretold(recipe, system.registry, stage, RunStore(folder, stage))
    for name in recipe.adapters:
        yield from _adapter(system, name, runs, retrain=retrain)
    counted = inspect(recipe, system.registry)  # activations are counted on the meta device alone
    yield from (demand.line() for demand in demands(counted))
    yield from on_disk(counted)


def _adapter(system: System, name: str, runs: Path, *, retrain: bool) -> Iterator[str]:
    """What would come of an adapter. Its step is timed as one of the whole denoiser, which takes longer."""
    options = system.recipe.adapters[name].train
    learned = name in trained_adapters(system.recipe, [name])
    path = None if retrain and learned else find_adapter(system, name, runs)
    if path is not None:
        yield f"adapter {name}: would be reused, {path}"
        return
    if options is None:
        raise UserError(f"adapters.{name}: has no weights and is not trained: add its weights or train")
    store = adapter_run(system, name, runs)
    seconds = options.steps * options.accumulate * _step(system, "diffusion", options.batch)
    took = f"{options.steps} steps, at most about {duration(seconds)}"
    yield f"adapter {name}: would be trained in {store.folder}: {took}"
    if not (retrain and learned):
        yield from foretold(system.recipe, system.registry, f"{ADAPTERS}{name}", store)


def _step(system: System, stage: StageName, batch: int) -> float:
    """Seconds of a forward and a backward pass of a batch of that size."""
    work = _reconstructing(system, batch) if stage == "compression" else _denoising(system, batch)
    seconds = []
    for _ in range(1 + PASSES):
        started = time.perf_counter()
        work().square().mean().backward()
        seconds.append(time.perf_counter() - started)
    system.zero_grad(set_to_none=True)
    return min(seconds[1:])


def _reconstructing(system: System, batch: int) -> Callable[[], Tensor]:
    height, width = _size(system)
    image = torch.rand(batch, 3, height, width, device=system.device)
    return lambda: system.compression.decode(system.compression.encode(image))


def _denoising(system: System, batch: int) -> Callable[[], Tensor]:
    """Of the denoiser under random conditions of the shapes that the conditioners declare."""
    latent, device = system.compression.latent, system.device
    height, width = (side // latent.factor for side in _size(system))
    spec = merged_spec({name: one.spec for name, one in system.named_conditioners()})

    def random(count: int, *shape: int) -> Tensor | None:
        return torch.rand(batch, *shape, device=device) if count else None

    condition = Condition(
        tokens=random(spec.tokens, TOKENS, spec.tokens),
        concat=random(spec.concat, spec.concat, height, width),
        vector=random(spec.vector, spec.vector),
    )
    z = torch.rand(batch, latent.channels, height, width, device=device)
    network, time = system.network, torch.full((batch,), 500.0, device=device)
    return lambda: network(z, time, condition)


def _size(system: System) -> tuple[int, int]:
    size = sizes.data_size(system) or system.recipe.sample.size
    if size is None:
        raise UserError("neither the data nor sample.size say how large a picture is: set one to plan")
    return size
