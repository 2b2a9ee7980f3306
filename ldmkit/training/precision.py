"""Mixed precision in training, with the loss scaling that fp16 needs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Name = Literal["no", "bf16", "fp16"]
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SCALE = 2.0**16
"""The loss scale of fp16 in the first step."""


class Precision:
    """Mixed precision (Micikevicius et al. 2018): products and convolutions of the forward pass in half
    precision, weights, optimizer and averages in float32.

    fp16 cannot hold small gradients, so that the loss is scaled before the backward pass. Where that
    overflows the update is left out and the scale halved; after 2000 good updates it is doubled.
    """

    def __init__(self, name: Name, device: torch.device) -> None:
        self._type, self._device = TYPES.get(name), device.type
        self.scaler = torch.amp.GradScaler(device.type, init_scale=SCALE, enabled=name == "fp16")

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled, and updates left out where that overflows."""
        return self.scaler.is_enabled()

    def computing(self) -> AbstractContextManager[Any]:
        """A context for the forward pass."""
        return nullcontext() if self._type is None else torch.autocast(self._device, self._type)

    def scale(self, loss: Tensor) -> Tensor:
        """The scaled loss, from which the backward pass starts."""
        return self.scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the gradients of its parameters by the scale."""
        if self.scaled:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's step, left out where its gradients are not finite."""
        self.scaler.step(optimizer)

    def update(self) -> float:
        """Called after all optimizers' steps: sets the loss scale of the next one."""
        self.scaler.update()
        return self.scaler.get_scale()

    def state(self) -> dict[str, Any]:
        """The scale's state for the checkpoint's JSON, which holds its figures exactly."""
        return self.scaler.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`; nothing where a checkpoint has none."""
        if self.scaled and state:
            self.scaler.load_state_dict(dict(state))
