"""Optimisers, the learning rate over the steps, and optimiser states as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ldmkit.recipe.model import Stage


def adam(parameters: Mapping[str, nn.Parameter], options: Stage) -> torch.optim.AdamW:
    """AdamW, which is Adam where weight_decay is 0."""
    return torch.optim.AdamW(
        parameters.values(), lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=True
    )


def rate(options: Stage, step: int) -> float:
    """The learning rate of step 0, 1, ...: linear warm-up, then constant or down to 0 at the last step."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    done = (step - options.warmup) / max(options.steps - options.warmup, 1)
    factors = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return options.lr * factors[options.decay]


def optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> Iterator[tuple[str, Tensor]]:
    """The state of each parameter as "<parameter>:<moment>"; nothing before the first step."""
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            yield f"{name}:{key}", value


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]
) -> None:
    """The reverse of `optimizer_state`."""
    for key, value in state.items():
        name, _, moment = key.rpartition(":")
        optimizer.state[parameters[name]][moment] = value.clone().to(parameters[name].device)
