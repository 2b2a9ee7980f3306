"""A recipe's system without data or weights: what `ldmkit check` looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from ldmkit.checkpoint.store import KEPT
from ldmkit.disk import size
from ldmkit.engine import sampling
from ldmkit.engine.components import build
from ldmkit.engine.limits import free_memory
from ldmkit.engine.system import System, assemble
from ldmkit.engine.weights import stages_of
from ldmkit.host.registry import Registry
from ldmkit.recipe import Recipe

ANY_SIZE = 64
"""Latent side at which levels are checked where neither recipe nor data say a picture size."""


@dataclass(frozen=True)
class Count:
    """The parameters of one part of a system."""

    part: str
    component: str
    parameters: int
    trainable: int


def inspect(recipe: Recipe, registry: Registry) -> System:
    """The assembled system of a resolved recipe, its modules on the "meta" device: shapes, but no memory.

    Levels, sampler and guidance are made as well. Raises UserError for combinations that make no sense.
    """
    with torch.device("meta"):
        system = assemble(recipe, registry)
        for guide in recipe.guidance:
            build(registry, "guidance", guide, compression=system.compression)
    if recipe.denoiser is not None:
        known = recipe.sample.size or sampling.data_size(system)
        side = ANY_SIZE * system.compression.latent.factor
        plan = sampling.plan(system, guidance=[])
        plan.levels(system, sampling.latent_size(system, known or (side, side)))
    return system


def counts(system: System) -> Iterator[Count]:
    """Parameters per component, in the order of the recipe."""
    recipe = system.recipe
    yield _count("compression", recipe.compression.name, system.get_submodule("compression"))
    for name, module in system.conditioners.items():
        yield _count(f"conditioners.{name}", recipe.conditioners[name].name, module)
    if recipe.denoiser is not None:
        yield _count("denoiser", recipe.denoiser.name, system.get_submodule("denoiser"))


def _count(part: str, component: str, module: nn.Module) -> Count:
    parameters = list(module.parameters())
    total = sum(p.numel() for p in parameters)
    return Count(part, component, total, sum(p.numel() for p in parameters if p.requires_grad))


def demands(system: System) -> Iterator[str]:
    """What the system's weights take: to sample with, to train each stage, and on disk; activations, which
    depend on batch and size, come on top."""
    total = sum(p.nbytes for p in system.parameters())
    yield f"weights: {size(total)}{_beyond(total, free_memory(), 'memory')}"
    for stage in stages_of(system.recipe):
        options = getattr(system.recipe.train, stage)
        if options is not None:
            part = system.get_submodule("compression") if stage == "compression" else system
            learned = sum(p.nbytes for p in part.parameters() if p.requires_grad)
            average = learned if options.ema is not None else 0
            training = total + 3 * learned + average  # gradients and two moments, as AdamW keeps
            yield f"train.{stage}: {size(training)}{_beyond(training, free_memory(), 'memory')}"
            kept = (KEPT + 1) * (3 * learned + average) + 2 * learned
            yield f"train.{stage} on disk: {size(kept)}"


def _beyond(needed: int, free: int, what: str) -> str:
    return f", more than the {size(free)} of {what} that are free here" if needed > free else ""
