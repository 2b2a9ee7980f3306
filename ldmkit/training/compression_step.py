"""The TrainingSteps of stage one: the losses of the autoencoder and of its discriminator for a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ldmkit.interfaces import Adversary, CompressionModel, Loss
from ldmkit.recipe.stages import CompressionTraining
from ldmkit.training.collectives import mean_over_processes
from ldmkit.training.stage import Losses
from ldmkit.types import Image, Latent, Posterior


@dataclass(frozen=True)
class CompressionDraws:
    """The random part of a step for some rows: posterior noise; `step` for the adversary's timetable."""

    step: int
    noise: Latent
    flip: Bool[Tensor, " b"] | None


class CompressionStep(nn.Module):
    """The autoencoder's loss: reconstruction losses, the posterior's penalty, the generator's loss.

    loss = R(nll) + penalty * mean(posterior penalty) + weight(step) * lambda * generator loss; nll is the
    sum of the recipe's losses, with learn_variance nll / e^s + s. R "sum" adds up a picture's elements and
    averages over pictures, "mean" averages over all elements. The posterior's penalty is taken as the model
    gives it (KL: a picture's sum in nats), whatever R is, so that a penalty goes with its reduction.
    """

    def __init__(
        self,
        compression: CompressionModel,
        losses: Sequence[Loss],
        adversary: Adversary | None,
        options: CompressionTraining,
        last: nn.Parameter | None = None,
    ) -> None:
        """last: the weight of the decoder's last layer, where the adversary compares gradients."""
        super().__init__()
        self.compression = compression
        # A cast, since a Protocol cannot inherit from nn.Module.
        self.losses = nn.ModuleList(cast(Sequence[nn.Module], losses))
        self.log_variance: nn.Parameter | None = None
        if options.learn_variance:
            self.log_variance = nn.Parameter(torch.zeros(()))
        self._options = options
        # In a tuple, so that it is no submodule: the discriminator's weights belong to the other optimizer.
        self._adversary, self._last = (adversary,), (last,)
        self._opposing = [] if adversary is None else [p for p in adversary.parameters() if p.requires_grad]

    def train(self, mode: bool = True) -> CompressionStep:
        """As in nn.Module, but losses stay in evaluation mode."""
        super().train(mode)
        self.losses.eval()
        return self

    def forward(
        self, batch: Mapping[str, Tensor], draws: CompressionDraws
    ) -> tuple[Losses, dict[str, Tensor]]:
        """The losses of a batch, and the reconstruction for the discriminator."""
        image, options = batch["image"], self._options
        posterior = self._posterior(image)
        reconstruction = self.compression.decode(posterior.sample(draws.noise))
        nll = self.nll(reconstruction, image)
        penalty, penalty_weight = posterior.penalty.mean(), options.penalty
        losses = {"loss": nll + penalty_weight * penalty, "nll": nll.detach(), "penalty": penalty.detach()}
        losses |= {name: value.detach() for name, value in posterior.metrics.items()}
        if self.log_variance is not None:
            losses["log_variance"] = self.log_variance.detach().clone()
        return self._with_adversary(losses, nll, reconstruction, draws.step), {
            "decoded": reconstruction.detach()
        }

    def _posterior(self, image: Image) -> Posterior:
        """q(z | x); where the decoder alone learns, as at sampling, so that nothing of the encoder moves."""
        if self._options.only is None:
            return self.compression.posterior(image)
        was_training = self.compression.training
        self.compression.eval()
        with torch.no_grad():
            posterior = self.compression.posterior(image)
        self.compression.train(was_training)
        return posterior

    def nll(self, reconstruction: Image, image: Image) -> Float[Tensor, ""]:
        """The reduced reconstruction loss."""
        parts = [loss(reconstruction, image) for loss in self.losses]
        elements = reduce(torch.add, parts).expand_as(image)
        if self.log_variance is not None:
            elements = elements / self.log_variance.exp() + self.log_variance
        return elements.mean() if self._options.reduction == "mean" else elements.sum() / len(image)

    def _with_adversary(self, losses: Losses, nll: Tensor, reconstruction: Image, step: int) -> Losses:
        """Adds the generator's loss from the step on at which it has weight; before, it is not computed."""
        (adversary,) = self._adversary
        weight = 0.0 if adversary is None else adversary.weight(step)
        if adversary is None or weight == 0:
            return losses
        # Freeze the discriminator: this loss must not train it.
        for parameter in self._opposing:
            parameter.requires_grad_(False)
        generator = adversary.generator_loss(reconstruction)
        for parameter in self._opposing:
            parameter.requires_grad_(True)
        balance = adversary.balance(nll, generator, self._gradient)
        losses["loss"] = losses["loss"] + weight * balance * generator
        return losses | {"generator": generator.detach(), "adaptive_weight": balance.detach()}

    def _gradient(self, loss: Tensor) -> Tensor:
        """A loss's gradient at the decoder's last weight, over the global batch."""
        (last,) = self._last
        assert last is not None
        (gradient,) = torch.autograd.grad(loss, last, retain_graph=True)
        return mean_over_processes(gradient)


class DiscriminatorStep(nn.Module):
    """The discriminator's loss."""

    def __init__(self, adversary: Adversary) -> None:
        super().__init__()
        self.adversary = adversary

    def forward(
        self, batch: Mapping[str, Tensor], draws: CompressionDraws
    ) -> tuple[Losses, dict[str, Tensor]]:
        """The loss on the pictures and on the reconstructions of the autoencoder's step."""
        return {"loss": self.adversary.discriminator_loss(batch["image"], batch["decoded"])}, {}
