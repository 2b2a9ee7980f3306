"""An imported model's weights in a system: they fit its configuration, and every tensor is accounted for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ldmkit.artifacts import check_numbers
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_state, stages_of
from ldmkit.errors import UserError
from ldmkit.interchange.model import Published, Tensors, arguments_of, key_map, slot_of
from ldmkit.keymaps import short, some
from ldmkit.recipe.stages import StageName

SMALL = 1_000_000
"""Numbers that a model may have beyond those of its files (tables of positions, statistics)."""


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


def check_configs(draft: System, published: Published, format: str) -> None:
    """UserError where a part's configuration promises what the model, as it was put together, has not.

    Key maps may say so, by a method `check_config(config, parameters)` that raises ValueError; `parameters`
    are those of `KeyMap.config`.
    """
    for part, config in published.configs.items():
        name = slot_of(draft, part).name
        check = getattr(key_map(draft.registry, format, name), "check_config", None)
        try:
            if check is not None:
                check(config, arguments_of(draft, part))
        except ValueError as error:
            raise UserError(f"configuration of {name}: {short(str(error), 1000)}") from error


def load_parts(system: System, published: Published, format: str) -> dict[StageName, Tensors]:
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
            state = key_map(system.registry, format, name).load(tensors, system.get_submodule(part))
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
