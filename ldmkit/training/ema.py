"""The moving average of weights, which samples and checkpoints use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


class Average:
    """An exponential moving average with warm-up: decay min(decay, (1 + n) / (10 + n)), n counted from 1.

    The first decay is 2/11 (the published code raises its counter first). One fused pass over all weights.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._names = list(parameters)
        self._parameters = list(parameters.values())
        self._averages = [p.detach().clone() for p in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self, n: int) -> None:
        """Updates the averages with the weights after step n = 1, 2, ..."""
        decay = min(self._decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(self._averages, [p.detach() for p in self._parameters], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The averages by name, live (while swapped: the model's own weights)."""
        return dict(zip(self._names, self._averages, strict=True))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A context in which the model has the averaged weights.

        Storage is swapped: only weights that are shared out between processes are copied.
        """
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchanges the model's weights and the averages."""
        for i, parameter in enumerate(self._parameters):
            if isinstance(parameter, DTensor):  # whose storage is a part of FSDP's own
                kept = self._averages[i].clone()
                self._averages[i].copy_(parameter.detach())
                parameter.detach().copy_(kept)
                continue
            parameter.data, self._averages[i] = self._averages[i], parameter.data
