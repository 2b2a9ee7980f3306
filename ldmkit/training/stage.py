"""A stage as the training loop sees it, and its learners: one trainable part for each optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import PIL.Image
import torch
from torch import Tensor, nn

from ldmkit.errors import UserError
from ldmkit.interfaces import Optimizer
from ldmkit.recipe.stages import TrainingSettings
from ldmkit.training.optim import adam, groups_of

Losses = dict[str, Tensor]
"""Scalars by name; "loss" is what is minimized, the others are logged."""


@dataclass
class Learner:
    """One optimizer and the TrainingStep whose loss it lowers; `make` makes the optimizer, by default AdamW.

    step: forward(batch, draws) -> (losses, what it hands to the learners after it); the only thing that is
    handed to accelerate. trains: does it learn at step 0, 1, ...? every_weight: each weight that the first
    batch reaches has a gradient in every step.
    """

    name: str
    step: nn.Module
    options: TrainingSettings
    trains: Callable[[int], bool] = lambda _: True
    make: Optimizer | None = None
    every_weight: bool = False
    parameters: dict[str, nn.Parameter] = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.parameters = {n: p for n, p in self.step.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise UserError(f"the {self.name} has no weights to train; leave its training out")
        groups = groups_of(self.parameters, self.options)
        self.optimizer = self.make(groups) if self.make else adam(groups, self.options)


class TrainingStage(Protocol):
    """A stage of training as the loop sees it. Steps count from 0; rows are positions in the global batch."""

    @property
    def name(self) -> str:
        """Which of the two it is, or the adapter's name."""

    @property
    def options(self) -> TrainingSettings:
        """The recipe's settings."""

    @property
    def learners(self) -> Sequence[Learner]:
        """The trainable parts, in the order of their updates in a step."""

    def averaged(self) -> Mapping[str, nn.Parameter]:
        """The weights that the moving average follows, by their names in the system."""

    def state(self) -> Mapping[str, Tensor]:
        """Every tensor that training changes, live, by name; the system's own under their names there."""

    def weights(self) -> Mapping[str, Tensor]:
        """The part of `state` that is the stage's output."""

    def batch(self, step: int, rows: slice) -> tuple[Mapping[str, Any], Any]:
        """The batch and the random draws of some rows of a step."""

    def validate(self, rank: int, world: int) -> Mapping[str, Tensor]:
        """Sums over this process's share of the validation pictures, and "count", how many they were."""

    def picture(self) -> PIL.Image.Image | None:
        """The grid that shows how far the stage is; None where the recipe asks for none."""

    def complete(self) -> None:
        """Final work after the last step, with the final weights in place."""
