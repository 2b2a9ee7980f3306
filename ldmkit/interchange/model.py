"""What every published format comes down to: a recipe, and the published tensors of each component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ldmkit.engine.components import build, component_error
from ldmkit.engine.conditions import merged_spec
from ldmkit.engine.fitting import misfits_of
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_state
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Registry
from ldmkit.interfaces import KeyMap
from ldmkit.keymaps import short, some
from ldmkit.recipe import Component
from ldmkit.recipe.stages import StageName

Tensors = dict[str, Tensor]


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


def key_map(registry: Registry, format: str, component: str) -> KeyMap:
    """The key map of a component in a format; UserError where no plugin brings one."""
    name = f"{format}/{component}"
    if name not in registry.names("keymap"):
        raise UserError(
            f"{component} cannot be held in the {format} format: no plugin brings a key map '{name}'"
        )
    keymap: KeyMap = build(registry, "keymap", Component(name=name))
    return keymap


def component_of(registry: Registry, format: str, kind: str, published: str, where: str) -> str:
    """The name of the component of that kind that a published class corresponds to.

    The key maps of that format say so; only the last part of the class's name counts. Raises UserError
    for a class that none of them has; the message begins with `where` and lists the known classes.
    """
    known: dict[str, str] = {}
    for name in registry.names(kind):
        if f"{format}/{name}" in registry.names("keymap"):
            classes = getattr(key_map(registry, format, name), "classes", ())
            known |= {own.rpartition(".")[2]: name for own in classes}
    class_name = published.rpartition(".")[2]
    if class_name not in known:
        raise UserError(
            f"{where}: {kind} '{class_name}' is not known: {some(sorted(known), 12)}"
            f"{did_you_mean(class_name, known)}"
        )
    return known[class_name]


def class_of(system: System, part: str, format: str) -> str:
    """The full name of the published class that a part is exported as."""
    name = slot_of(system, part).name
    first: str = key_map(system.registry, format, name).classes[0]
    return first


def parameters(registry: Registry, format: str, component: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says of a component, its name and parameters, from its published configuration.

    Raises UserError for a configuration that the component's key map cannot take over.
    """
    try:
        return {"name": component, **key_map(registry, format, component).parameters(config)}
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:  # foreign values
        raise UserError(f"configuration of {component}: {short(str(error), 1000)}") from error


def slot_of(system: System, part: str) -> Component:
    """The component that the recipe names for a part, such as "denoiser" or "conditioners.caption"."""
    name = part.removeprefix("conditioners.")
    slot: Component = system.recipe.conditioners[name] if name != part else getattr(system.recipe, part)
    return slot


def stage_tensors(system: System, stage: StageName) -> Tensors:
    """A stage's weights under the system's own names."""
    return {name: tensor.detach() for name, tensor in stage_state(system, stage).items()}


def save_part(system: System, part: str, format: str) -> Tensors:
    """The tensors of a part under the names that the format has for them."""
    return key_map(system.registry, format, slot_of(system, part).name).save(system.get_submodule(part))


def config_of(system: System, part: str, format: str) -> dict[str, Any]:
    """The published configuration of a part; UserError where the format cannot hold the part."""
    slot = slot_of(system, part)
    try:
        return key_map(system.registry, format, slot.name).config(arguments_of(system, part))
    except ValueError as error:
        raise UserError(f"{part} ({slot.name}) cannot be held in the {format} format: {error}") from error


def arguments_of(system: System, part: str) -> dict[str, Any]:
    """A component's parameters, and those that build supplies to a denoiser."""
    values = dict(slot_of(system, part).parameters)
    if part != "denoiser":
        return values
    latent = system.compression.latent
    specs = {name: conditioner.spec for name, conditioner in system.named_conditioners()}
    channels = system.objective.out_channels(latent.channels)
    return {**values, "latent": latent, "conditions": merged_spec(specs), "out_channels": channels}


def published_name(table: Mapping[str, str], slot: Component, what: str, format: str) -> str:
    """The name that a format has for one of our components, from its table of published name and component.

    Raises UserError, which lists the components of the table, for a component that is not in it.
    """
    for theirs, ours in table.items():
        if ours == slot.name:
            return theirs
    raise UserError(
        f"{what} '{slot.name}' cannot be held in the {format} format: {', '.join(table.values())}"
    )


def refuse_others(slot: Component, what: str, format: str, only: Mapping[str, Any]) -> None:
    """Raises UserError where a parameter has another value than `only`, the values that the format fixes."""
    for key, value in only.items():
        if slot.parameters.get(key, value) != value:
            raise UserError(
                f"{what} ({slot.name}) cannot be held in the {format} format: {key} "
                f"{slot.parameters[key]} (only {value})"
            )
