"""Parameters of the parts of a system."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ldmkit.engine.parts import Parts


@dataclass(frozen=True)
class Count:
    """The parameters of one part of a system."""

    part: str
    component: str
    parameters: int
    trainable: int


def counts(system: Parts) -> Iterator[Count]:
    """Parameters per component, in the order of the recipe."""
    recipe = system.recipe
    yield _count("compression", recipe.compression.name, system.get_submodule("compression"))
    for name, module in system.conditioners.items():
        yield _count(f"conditioners.{name}", recipe.conditioners[name].name, module)
    if recipe.denoiser is not None:
        yield _count("denoiser", recipe.denoiser.name, system.get_submodule("denoiser"))
    if system.decoder is not None:
        yield _count("sample.decoder", type(system.decoder).__name__, system.get_submodule("decoder"))


def _count(part: str, component: str, module: nn.Module) -> Count:
    parameters = list(module.parameters())
    total = sum(p.numel() for p in parameters)
    return Count(part, component, total, sum(p.numel() for p in parameters if p.requires_grad))
