"""What every published format comes down to: a recipe, and the published tensors of each component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.components import build
from ldmkit.errors import UserError
from ldmkit.interfaces import KeyMap
from ldmkit.recipe import Component
from ldmkit.registry import Registry
from ldmkit.system import System
from ldmkit.weights import stage_state

Tensors = dict[str, Tensor]


@dataclass
class Published:
    """A foreign model taken apart.

    recipe: what a recipe holds (compression, conditioners, denoiser, schedule, objective...).
    tensors: by part ("compression", "denoiser", "conditioners.caption"), names as published, prefix removed;
    a part without tensors is absent. scale: of the latent. notes: what was left aside, and why.
    folders: what the recipe needs beside its weights, by name in the output folder.
    """

    recipe: dict[str, Any]
    tensors: dict[str, Tensors]
    scale: float = 1.0
    notes: list[str] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)


def key_map(registry: Registry, style: str, component: str) -> KeyMap:
    """The key map of a component in a format; UserError where no plugin brings one."""
    name = f"{style}/{component}"
    if name not in registry.names("keymap"):
        raise UserError(
            f"{component} cannot be held in the {style} format: no plugin brings a key map '{name}'"
        )
    made: KeyMap = build(registry, "keymap", Component(name=name))
    return made


def parameters(registry: Registry, style: str, component: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A component's slot of the recipe from its published configuration."""
    try:
        return {"name": component, **key_map(registry, style, component).parameters(config)}
    except ValueError as error:
        raise UserError(f"configuration of {component}: {error}") from error


def part_of(system: System, part: str) -> tuple[str, nn.Module]:
    """The component's name and the module of a part of the system."""
    recipe, name = system.recipe, part.removeprefix("conditioners.")
    slot = recipe.conditioners[name] if name != part else getattr(recipe, part)
    return slot.name, system.get_submodule(part)


def load_parts(system: System, published: Published, style: str) -> dict[str, Tensors]:
    """The published tensors under the system's names, by stage, every one accounted for.

    Raises UserError that names keys left over, missing or of another shape.
    """
    found: Tensors = {}
    for part, tensors in published.tensors.items():
        name, module = part_of(system, part)
        try:
            state = key_map(system.registry, style, name).load(tensors, module)
        except ValueError as error:
            raise UserError(f"{part} ({name}): the weights do not fit the configuration: {error}") from error
        found |= {f"{part}.{key}": tensor for key, tensor in state.items()}
    found["compression.scale"] = torch.full_like(system.compression.scale, published.scale)
    found["compression.shift"] = torch.zeros_like(system.compression.shift)
    stages = ("compression", "diffusion") if system.denoiser is not None else ("compression",)
    return {stage: _complete(stage_state(system, stage), found) for stage in stages}


def _complete(wanted: Mapping[str, Tensor], found: Tensors) -> Tensors:
    """Exactly the stage's tensors; what has no published name (a fresh buffer) keeps its value."""
    wrong = [
        f"{key} is {tuple(found[key].shape)}, the configuration gives {tuple(own.shape)}"
        for key, own in wanted.items()
        if key in found and found[key].shape != own.shape
    ]
    missing = [k for k, own in wanted.items() if k not in found and isinstance(own, nn.Parameter)]
    if wrong or missing:
        problems = wrong + [f"missing {key}" for key in missing]
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"the weights do not fit the configuration: {'; '.join(problems[:5])}{more}")
    return {key: found.get(key, own).detach() for key, own in wanted.items()}


def save_part(system: System, part: str, style: str) -> Tensors:
    """A part's tensors under published names."""
    name, module = part_of(system, part)
    return key_map(system.registry, style, name).save(module)
