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
    """A frozen picture network by name (in eval for good): losses and metrics ask for it."""

    def __call__(self, image: Image) -> Sequence[Float[Tensor, "b k i j"]]:
        """Feature maps, shallow to deep; differentiable in `image`, which is in [-1, 1]."""

    def embed(self, image: Image) -> Float[Tensor, "b e"]:
        """One vector a picture (pooled, before any classifier)."""


class Loss(Module, Protocol):
    """A reconstruction loss. Its weight is one of its own parameters."""

    def __call__(self, reconstruction: Image, image: Image) -> Float[Tensor, "b 3 H W"]:
        """The weighted loss, per element or broadcastable to it (LPIPS: "b 1 1 1")."""


Gradient = Callable[[Float[Tensor, ""]], Tensor]
"""gradient(loss): the loss's gradient at the weight of the decoder's last layer, over the global batch."""


class Adversary(Module, Protocol):
    """The other player of the compression stage; its parameters have their own optimiser."""

    def trains(self, step: int) -> bool:
        """Does the discriminator learn at this step? (It may warm up before `weight` is above zero.)"""

    def weight(self, step: int) -> float:
        """The factor of the generator's loss at this step, before `balance`; at 0 neither is computed."""

    def generator_loss(self, reconstruction: Image) -> Float[Tensor, ""]:
        """What the autoencoder minimises."""

    def balance(
        self, reconstruction_loss: Float[Tensor, ""], generator_loss: Float[Tensor, ""], gradient: Gradient
    ) -> Float[Tensor, ""]:
        """The second factor of the generator's loss, detached; 1 for an adversary that does not adapt it."""

    def discriminator_loss(self, image: Image, reconstruction: Image) -> Float[Tensor, ""]:
        """What the discriminator minimises (the reconstruction comes detached)."""


ParameterGroup = dict[str, Any]
"""A group as torch.optim takes it: "params", a list of (name, parameter); "lr"; and "factor", by which the
training loop multiplies the stage's learning rate before each step."""


class Optimizer(Protocol):
    """Makes the torch optimiser of one TrainingStep. Checkpoints hold its state: the tensors and numbers of
    `state[parameter]` and the numbers of each of `param_groups`, which all keep their "factor"."""

    def __call__(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """An optimiser of all parameters of the groups."""


class Auxiliary(Module, Protocol):
    """An extra loss of the diffusion stage. Its trainable weights are trained and kept in
    checkpoints beside the denoiser's, but are no part of the stage's output. Lazy modules are allowed: it is
    called once before its weights are counted.

    layers: names of the denoiser's submodules whose outputs it reads.
    """

    layers: Sequence[str]

    def __call__(self, features: Mapping[str, Any], image: Image, level: Level) -> PerPicture:
        """The weighted loss of each picture. features: outputs by layer, usually "b k i j" or "b l k"; image:
        the clean picture, mirrored as its latent is; level: that of z_t."""


TeacherEstimate = Callable[[Latent, Level], tuple[Estimate, Estimate]]
"""teacher(z_t, level): what a frozen model makes of z_t under the pictures' conditions, and under the null
conditions. Levels may differ from picture to picture."""


class Distillation(Protocol):
    """What the denoiser learns from a teacher, in the place of the objective's loss.

    The teacher is the model as it is when the training begins, that of the recipe's `weights`, from which the
    student starts; it stays as it is.
    """

    def __call__(
        self,
        student: EstimateFunction,
        teacher: TeacherEstimate,
        clean: Latent,
        noise: Latent,
        t: Float[Tensor, " b"],
    ) -> PerPicture:
        """The loss of each picture; differentiable through `student`. `t` is what the schedule drew."""


class Callback(Protocol):
    """Observes a training and changes nothing of it. The main process calls it, with copies.

    Around each call random generators are put back to their states. An exception ends the callback, which is
    reported once, and never the training.
    """

    def begin(self, run: TrainingRun) -> None:
        """A stage begins, or goes on after `run.step` steps: what was recorded of later ones is void."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Means since the last call after `step` steps, or a validation's figures ("validation_loss"...)."""

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """The sheet that shows what the stage can do after `step` steps."""

    def end(self, outcome: Outcome) -> None:
        """The last call, whether the stage is finished or not."""


class Adapter(Protocol):
    """Adds modules to a built system, and owns their weights: the system's own are neither trained nor saved
    with them. A newly attached adapter changes no figure until it is trained or loaded."""

    def attach(self, system: nn.Module, name: str) -> None:
        """Adds its modules, under a name that no other adapter of the system has; called once, with the
        system's weights in place. Raises ValueError where nothing in the system fits."""

    def state(self) -> Mapping[str, Tensor]:
        """Its weights by name, live: the parameters themselves, as training and loading change them."""

    def set_strength(self, strength: float) -> None:
        """How much it counts: 1 as trained, 0 not at all."""

    def merge(self) -> None:
        """Adds its effect at its present strength to the system's own weights, and takes its modules away."""
