"""A recipe's system without data or weights: what `ldmkit check` looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from ldmkit.engine import sampling
from ldmkit.engine.components import build
from ldmkit.engine.system import System, assemble
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
