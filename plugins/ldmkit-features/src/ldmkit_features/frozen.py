"""What all feature networks are: modules in eval for good."""

from __future__ import annotations

from typing import Self

from torch import nn


class Frozen(nn.Module):
    """A network whose weights and statistics never change; gradients still reach its input."""

    def freeze(self) -> None:
        """To be called at the end of a constructor."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in eval whatever the module around it does."""
        return super().train(False)
