"""Optimizers, learning rates over the steps and by part, optimizer states as tensors and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.engine.components import build
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import Registry
from ldmkit.interfaces import Optimizer, ParameterGroup
from ldmkit.recipe.decays import DECAYS
from ldmkit.recipe.stages import TrainingSettings
from ldmkit.training.shared_tensors import part_of


def optimizer_of(registry: Registry, options: TrainingSettings) -> Optimizer:
    """The recipe's optimizer, or AdamW. UserError where the stage sets what the optimizer does not read."""
    if options.optimizer is None:
        return partial(adam, options=options)
    entry = registry.get("optimizer", options.optimizer.name)
    defaults = {"betas": options.betas, "weight_decay": options.weight_decay}
    for name in defaults.keys() - parameters_of(entry).supplied.keys():
        if defaults[name] != TrainingSettings.model_fields[name].default:
            raise UserError(f"optimizer ({entry.name}): it has no {name}; leave the stage's {name} out")
    optimizer: Optimizer = build(registry, "optimizer", options.optimizer, **defaults)
    return optimizer


def adam(groups: Sequence[ParameterGroup], options: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW, which is Adam where weight_decay is 0."""
    return torch.optim.AdamW(groups, betas=options.betas, weight_decay=options.weight_decay, fused=True)


def groups_of(parameters: Mapping[str, nn.Parameter], options: TrainingSettings) -> list[ParameterGroup]:
    """The parameters by the factor of their learning rate: that of the longest name in `lr_factors`."""
    groups: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in parameters.items():
        parts = [part for part in options.lr_factors if _within(name, part)]
        factor = options.lr_factors[max(parts, key=len)] if parts else 1.0
        groups.setdefault(factor, []).append((name, parameter))
    return [{"params": named, "lr": options.lr * f, "factor": f} for f, named in groups.items()]


def check_parts(options: TrainingSettings, names: Sequence[str]) -> None:
    """UserError for a part in `lr_factors` that none of the stage's trained weights belongs to."""
    for part in options.lr_factors:
        if not any(_within(name, part) for name in names):
            heads = sorted({".".join(name.split(".")[:n]) for name in names for n in (1, 2)})
            raise UserError(f"lr_factors: no trained weights in '{part}'{did_you_mean(part, heads)}")


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def rate(options: TrainingSettings, step: int) -> float:
    """The learning rate of step 0, 1, ...: linear warm-up, then constant or down to 0 at the last step."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    done = (step - options.warmup) / max(options.steps - options.warmup, 1)
    return options.lr * DECAYS[options.decay](done)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the coming step, times each group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of each parameter's state as "<parameter>:<moment>"; nothing before the first step."""
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                yield f"{name}:{key}", value


def optimizer_numbers(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, dict[str, Any]]:
    """What an optimizer keeps besides tensors: by parameter, and by the number of each group.

    Raises UserError where a parameter's state is neither a tensor nor a number.
    """
    kept: dict[str, dict[str, Any]] = {}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        kept |= {name: numbers} if (numbers := _numbers(state)) else {}
        odd = [k for k, v in state.items() if not isinstance(v, Tensor) and k not in numbers]
        if odd:
            raise UserError(
                f"optimizer {type(optimizer).__name__}: no checkpoint can hold its state '{odd[0]}', "
                "which is neither a tensor nor a number"
            )
    return kept | {f"group {i}": _numbers(group) for i, group in enumerate(optimizer.param_groups)}


def _numbers(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if isinstance(v, bool | int | float)}


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Mapping[str, Any]],
) -> None:
    """The reverse of `optimizer_state` and `optimizer_numbers`."""
    for key, value in tensors.items():
        name, _, moment = key.rpartition(":")
        own = value.clone().to(parameters[name].device)
        same = own.shape == parameters[name].shape
        optimizer.state[parameters[name]][moment] = part_of(own, parameters[name]) if same else own
    for name, parameter in parameters.items():
        if name in numbers:
            optimizer.state[parameter].update(numbers[name])
    for i, group in enumerate(optimizer.param_groups):
        group.update(numbers.get(f"group {i}", {}))
