"""The base of feature networks: frozen modules in evaluation mode."""

from __future__ import annotations

from typing import Self

from torch import nn


class Frozen(nn.Module):
    """A network with frozen weights and statistics; gradients with respect to its input are kept."""

    def freeze(self) -> None:
        """Freezes the network; to be called at the end of a constructor."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode, whatever the module around it does."""
        return super().train(False)
