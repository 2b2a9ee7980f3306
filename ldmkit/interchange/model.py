"""What every published format comes down to: a recipe, and the published tensors of each component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ldmkit.artifacts import check_numbers
from ldmkit.engine.components import build, component_error
from ldmkit.engine.conditions import merged_spec
from ldmkit.engine.fitting import misfits_of
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_state, stages_of
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Registry
from ldmkit.interfaces import KeyMap
from ldmkit.keymaps import short, some
from ldmkit.recipe import Component
from ldmkit.recipe.stages import StageName

Tensors = dict[str, Tensor]
SMALL = 1_000_000
"""Numbers that a model may have beyond those of its files (tables of positions, statistics)."""


@dataclass(frozen=True)
class ImportOptions:
    """What a person says beside the source.

    config: the file of its configuration. weights: which of several sets, "raw" or "ema"; None: the averaged
    ones where there are any. tokenizer: a folder with the tokenizer of a text encoder that comes without.
    """

    config: Path | None = None
    weights: str | None = None
    tokenizer: Path | None = None


@dataclass
class Published:
    """A foreign model taken apart.

    recipe: what a recipe holds (compression, conditioners, denoiser, schedule, objective...); a conditioner's
    `path` that begins with "." is in the new folder. tensors: by part ("compression", "denoiser",
    "conditioners.caption"), names as published, prefix removed; a part without tensors is absent. scale,
    shift: of the latent, (raw - shift) * scale. notes: what was left aside, and why. folders: what the recipe
    needs beside its weights, by name in the new folder: a function that fills an empty one. configs: by part,
    published configurations with entries that only the whole model can be held against.
    """

    recipe: dict[str, Any]
    tensors: dict[str, Tensors]
    scale: float = 1.0
    shift: float = 0.0
    notes: list[str] = field(default_factory=list)
    folders: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)


class Format(Protocol):
    """A published format of whole models: a component of kind `format`, whose name key maps begin with."""

    def accepts(self, source: Path) -> bool:
        """Whether a file or folder may be a model in this format, by its name and what lies in it."""

    def read(self, registry: Registry, source: Path, options: ImportOptions) -> Published:
        """Takes the model apart into a recipe and published tensors.

        Raises UserError for a damaged source and for anything that a recipe cannot hold.
        """

    def write(self, system: System, out: Path) -> Sequence[str] | None:
        """Writes the system into the empty folder `out`.

        Returns one line for the user about each thing that the format holds in another form. Raises UserError
        where the format cannot hold the model.
        """


def format_of(registry: Registry, name: str) -> Format:
    """The format of that name; UserError where its component does not fit the Protocol."""
    slot = Component(name=name)
    format: Format = build(registry, "format", slot)
    if wrong := misfits_of(Format, format):
        raise component_error("format", slot, f"does not fit ldmkit.interchange.model: {'; '.join(wrong)}")
    return format


def key_map(registry: Registry, style: str, component: str) -> KeyMap:
    """The key map of a component in a format; UserError where no plugin brings one."""
    name = f"{style}/{component}"
    if name not in registry.names("keymap"):
        raise UserError(
            f"{component} cannot be held in the {style} format: no plugin brings a key map '{name}'"
        )
    keymap: KeyMap = build(registry, "keymap", Component(name=name))
    return keymap


def component_of(registry: Registry, style: str, kind: str, published: str, where: str) -> str:
    """The name of the component of that kind that a published class corresponds to.

    The key maps of the format `style` say so; only the last part of the class's name counts. Raises UserError
    for a class that none of them has; the message begins with `where` and lists the known classes.
    """
    known: dict[str, str] = {}
    for name in registry.names(kind):
        if f"{style}/{name}" in registry.names("keymap"):
            classes = getattr(key_map(registry, style, name), "classes", ())
            known |= {own.rpartition(".")[2]: name for own in classes}
    class_name = published.rpartition(".")[2]
    if class_name not in known:
        raise UserError(
            f"{where}: {kind} '{class_name}' is not known: {some(sorted(known), 12)}"
            f"{did_you_mean(class_name, known)}"
        )
    return known[class_name]


def class_of(system: System, part: str, style: str) -> str:
    """The full name of the published class that a part is exported as."""
    name = slot_of(system, part).name
    first: str = key_map(system.registry, style, name).classes[0]
    return first


def parameters(registry: Registry, style: str, component: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says of a component, its name and parameters, from its published configuration.

    Raises UserError for a configuration that the component's key map cannot take over.
    """
    try:
        return {"name": component, **key_map(registry, style, component).parameters(config)}
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # foreign values
        raise UserError(f"configuration of {component}: {short(str(error), 1000)}") from error


def slot_of(system: System, part: str) -> Component:
    """The component that the recipe names for a part, such as "denoiser" or "conditioners.caption"."""
    name = part.removeprefix("conditioners.")
    slot: Component = system.recipe.conditioners[name] if name != part else getattr(system.recipe, part)
    return slot


def check_size(draft: System, published: Published) -> None:
    """UserError where the configuration describes a far larger model than the file holds: it is not built.

    draft: the system on the meta device, which takes no memory.
    """
    stages = stages_of(draft.recipe)
    count = sum(x.numel() for stage in stages for x in stage_state(draft, stage).values())
    held = sum(x.numel() for tensors in published.tensors.values() for x in tensors.values())
    if count > 4 * held + SMALL:
        raise UserError(
            f"the weights do not fit the configuration: it describes {count:.3g} numbers, "
            f"the weights are {held:.3g}"
        )


def check_configs(draft: System, published: Published, style: str) -> None:
    """UserError where a part's configuration promises what the model, as it was put together, has not.

    Key maps may say so, by a method `check_config(config, parameters)` that raises ValueError; `parameters`
    are those of `KeyMap.config`.
    """
    for part, config in published.configs.items():
        name = slot_of(draft, part).name
        check = getattr(key_map(draft.registry, style, name), "check_config", None)
        try:
            if check is not None:
                check(config, _arguments(draft, part))
        except ValueError as error:
            raise UserError(f"configuration of {name}: {short(str(error), 1000)}") from error


def load_parts(system: System, published: Published, style: str) -> dict[StageName, Tensors]:
    """The published tensors under the system's names, by stage, every one accounted for.

    Raises UserError that names keys left over, missing or of another shape.
    """
    if published.scale == 0:
        raise UserError("the latent's scale is 0: nothing could be decoded")
    loaded: Tensors = {}
    for part, tensors in published.tensors.items():
        check_numbers(tensors, part)
        name = slot_of(system, part).name
        try:
            state = key_map(system.registry, style, name).load(tensors, system.get_submodule(part))
        except ValueError as error:
            raise UserError(f"{part} ({name}): the weights do not fit the configuration: {error}") from error
        loaded |= {f"{part}.{key}": tensor for key, tensor in state.items()}
    loaded["compression.scale"] = torch.full_like(system.compression.scale, published.scale)
    loaded["compression.shift"] = torch.full_like(system.compression.shift, published.shift)
    return {stage: _complete(stage_state(system, stage), loaded) for stage in stages_of(system.recipe)}


def _complete(expected: Mapping[str, Tensor], tensors: Tensors) -> Tensors:
    """Exactly the stage's tensors; what has no published name (a fresh buffer) keeps its value."""
    wrong = [
        f"{key} is {tuple(tensors[key].shape)}, the configuration gives {tuple(own.shape)}"
        for key, own in expected.items()
        if key in tensors and tensors[key].shape != own.shape
    ]
    missing = [k for k, own in expected.items() if k not in tensors and isinstance(own, nn.Parameter)]
    if wrong or missing:
        problems = wrong + [f"missing {key}" for key in missing]
        raise UserError(f"the weights do not fit the configuration: {some(problems)}")
    return {key: tensors.get(key, own).detach() for key, own in expected.items()}


def stage_tensors(system: System, stage: StageName) -> Tensors:
    """A stage's weights under the system's own names."""
    return {name: tensor.detach() for name, tensor in stage_state(system, stage).items()}


def save_part(system: System, part: str, style: str) -> Tensors:
    """The tensors of a part under the names that the format `style` has for them."""
    return key_map(system.registry, style, slot_of(system, part).name).save(system.get_submodule(part))


def config_of(system: System, part: str, style: str) -> dict[str, Any]:
    """The published configuration of a part; UserError where the format `style` cannot hold the part."""
    slot = slot_of(system, part)
    try:
        return key_map(system.registry, style, slot.name).config(_arguments(system, part))
    except ValueError as error:
        raise UserError(f"{part} ({slot.name}) cannot be held in the {style} format: {error}") from error


def _arguments(system: System, part: str) -> dict[str, Any]:
    """A component's parameters, and those that build supplies to a denoiser."""
    values = dict(slot_of(system, part).parameters)
    if part != "denoiser":
        return values
    latent = system.compression.latent
    specs = {name: conditioner.spec for name, conditioner in system.named_conditioners()}
    channels = system.objective.out_channels(latent.channels)
    return {**values, "latent": latent, "conditions": merged_spec(specs), "out_channels": channels}


def published_name(table: Mapping[str, str], slot: Component, what: str, style: str) -> str:
    """The name that a format has for one of our components, from its table of published name and component.

    Raises UserError, which lists the components of the table, for a component that is not in it.
    """
    for theirs, ours in table.items():
        if ours == slot.name:
            return theirs
    raise UserError(f"{what} '{slot.name}' cannot be held in the {style} format: {', '.join(table.values())}")


def refuse_others(slot: Component, what: str, style: str, only: Mapping[str, Any]) -> None:
    """Raises UserError where a parameter has another value than `only`, the values that the format fixes."""
    for key, value in only.items():
        if slot.parameters.get(key, value) != value:
            raise UserError(
                f"{what} ({slot.name}) cannot be held in the {style} format: {key} "
                f"{slot.parameters[key]} (only {value})"
            )
