"""What joins a training: losses, optimizers, adapters, what watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.interfaces.diffusion import EstimateFunction
from ldmkit.interfaces.models import Module
from ldmkit.types import (
    Estimate,
    Image,
    Latent,
    Level,
    Outcome,
    PerPicture,
    TrainingRun,
)


class FeatureNetwork(Module, Protocol):
    """A frozen image network in evaluation mode, for losses and metrics."""

    def __call__(self, image: Image) -> Sequence[Float[Tensor, "b k i j"]]:
        """Feature maps from shallow to deep, differentiable with respect to `image` in [-1, 1]."""

    def embed(self, image: Image) -> Float[Tensor, "b e"]:
        """One vector per picture: the pooled features before the classifier."""


class Loss(Module, Protocol):
    """A reconstruction loss. Its weight is one of its own parameters."""

    def __call__(self, reconstruction: Image, image: Image) -> Float[Tensor, "b 3 H W"]:
        """The weighted loss, per element or broadcastable to it (LPIPS: "b 1 1 1")."""


Gradient = Callable[[Float[Tensor, ""]], Tensor]
"""gradient(loss): the loss's gradient at the weight of the decoder's last layer, over the global batch."""


class Adversary(Module, Protocol):
    """The discriminator of the compression stage; its parameters have their own optimizer."""

    def trains(self, step: int) -> bool:
        """Whether the discriminator is trained at this step. It may be, before `weight` is above zero."""

    def weight(self, step: int) -> float:
        """The factor of the generator's loss at this step, times `balance`. At 0 neither is computed."""

    def generator_loss(self, reconstruction: Image) -> Float[Tensor, ""]:
        """The loss that the autoencoder minimizes."""

    def balance(
        self, reconstruction_loss: Float[Tensor, ""], generator_loss: Float[Tensor, ""], gradient: Gradient
    ) -> Float[Tensor, ""]:
        """The adaptive factor of the generator's loss (the paper's lambda), detached; 1 for a fixed
        weight."""

    def discriminator_loss(self, image: Image, reconstruction: Image) -> Float[Tensor, ""]:
        """The loss that the discriminator minimizes; `reconstruction` is detached."""


ParameterGroup = dict[str, Any]
"""A parameter group of torch.optim: "params", a list of (name, parameter); "lr"; and "factor". Before each
step the training loop sets "lr" to the stage's learning rate times "factor"."""


class Optimizer(Protocol):
    """Makes the torch optimizer of one TrainingStep. Checkpoints save the tensors and numbers of
    `state[parameter]` and the numbers of each of `param_groups`, which must keep their "factor"."""

    def __call__(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """An optimizer of all parameters of the groups."""


class Auxiliary(Module, Protocol):
    """An extra loss of the diffusion stage. Its own trainable weights are trained and saved in checkpoints
    with the denoiser's, but not in the stage's final weights. Lazy modules are allowed: the loss is called
    once before the optimizer is made.
    """

    @property
    def layers(self) -> Sequence[str]:
        """Names of the denoiser's submodules whose outputs it reads."""

    def __call__(self, features: Mapping[str, Any], image: Image, level: Level) -> PerPicture:
        """The weighted loss of each picture. features: outputs by layer, usually "b k i j" or "b l k". image:
        the clean picture, mirrored where its latent is. level: the noise level of z_t."""


TeacherEstimate = Callable[[Latent, Level], tuple[Estimate, Estimate]]
"""teacher(z_t, level): the frozen model's estimates under the pictures' conditions and under the null
conditions. Levels may differ between pictures."""


class Distillation(Protocol):
    """A distillation loss, which replaces the objective's.

    The teacher is a frozen copy of the model from which the training starts, the recipe's `weights`.
    """

    def __call__(
        self,
        student: EstimateFunction,
        teacher: TeacherEstimate,
        clean: Latent,
        noise: Latent,
        t: Float[Tensor, " b"],
    ) -> PerPicture:
        """The loss of each picture, differentiable through `student`. `t` was drawn by the schedule."""


class Callback(Protocol):
    """Observes a training without any effect on its result. The main process calls it with copies.

    Random generators are restored after each call. An exception is reported once and removes the callback;
    the training goes on.
    """

    def begin(self, run: TrainingRun) -> None:
        """A stage starts, or resumes after `run.step` steps; records of later steps are to be discarded."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """After `step` steps: means of the losses since the last call, or validation figures."""

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """The grid of samples or reconstructions after `step` steps."""

    def end(self, outcome: Outcome) -> None:
        """The last call; `outcome` says whether the stage finished."""


class Adapter(Protocol):
    """Adds modules with weights of their own to a built system. The system's weights are neither trained nor
    saved with them. A newly attached adapter has no effect until it is trained or loaded."""

    def attach(self, system: nn.Module, name: str) -> None:
        """Adds its modules under a unique name. Called once, after the system's weights were loaded. Raises
        ValueError where the system has no layer that it could adapt."""

    def state(self) -> Mapping[str, Tensor]:
        """Its parameters and buffers by name, not copies: training and loading change them in place."""

    def set_strength(self, strength: float) -> None:
        """Scales its effect: 1 as trained, 0 for none."""

    def merge(self) -> None:
        """Merges its effect at the current strength into the system's weights and removes its modules."""
