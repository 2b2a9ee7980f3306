"""The patch-based adversarial loss (Isola et al. 2017; Esser et al. 2021): sharp reconstructions."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.interfaces import Gradient
from ldmkit.types import Image

Norm = Literal["batch", "group", "none"]


def normalize(norm: Norm, channels: int) -> list[nn.Module]:
    """The normalization layer of that name, if any."""
    if norm == "none":
        return []
    return [nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(32, channels)]


def patch_network(layers: int, width: int, norm: Norm) -> nn.Sequential:
    """The discriminator network: one logit per patch of a picture.

    4x4 convolutions of padding 1, `layers` of them of stride 2, then two of stride 1; LeakyReLU .2; no bias
    before a norm that has its own. Weights start as N(0, .02), norms as N(1, .02).
    """
    widths = [width * min(2**n, 8) for n in range(layers + 1)]
    parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for n, (before, after) in enumerate(pairwise(widths), start=1):
        stride = 2 if n < layers else 1
        parts.append(nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=norm == "none"))
        parts += [*normalize(norm, after), nn.LeakyReLU(0.2)]
    network = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, padding=1))
    return network.apply(initialize)


def initialize(module: nn.Module) -> None:
    """The published initialization of one layer."""
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 0.0 if isinstance(module, nn.Conv2d) else 1.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class PatchAdversarial(nn.Module):
    """A patch discriminator that is trained for some steps before its loss is added to the autoencoder's.

    The discriminator learns from step `start - warmup` on. From `start` on its loss counts for the
    autoencoder, with a weight that grows to its value within `ramp` steps. The published one has neither
    warm-up nor ramp.

    Args:
        start: step at which the autoencoder begins to heed the discriminator
        weight: factor of the generator's loss, before its adaptation to the reconstruction's gradient
        warmup: steps before `start` in which the discriminator already learns (published: 0)
        ramp: steps after `start` over which the weight grows to its value (published: 0)
        loss: hinge, or vanilla (the logistic loss)
        layers: convolutions of stride 2; a patch is 16, 34, 70 pixels wide for 1, 2, 3
        width: channels of the first layer
        norm: batch (as published), group (32 groups; does not mix pictures) or none
    """

    def __init__(
        self,
        *,
        start: NonNegativeInt = 0,
        weight: NonNegativeFloat = 0.5,
        warmup: NonNegativeInt = 1000,
        ramp: NonNegativeInt = 1000,
        loss: Literal["hinge", "vanilla"] = "hinge",
        layers: PositiveInt = 3,
        width: PositiveInt = 64,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        self.start, self.warmup, self.ramp = start, warmup, ramp
        self.full_weight = weight
        self.loss = loss
        self.network = patch_network(layers, width, norm)
        self.smallest = 3 * 2**layers

    def trains(self, step: int) -> bool:
        """Whether the discriminator learns: from `warmup` steps before the start on."""
        return step >= self.start - self.warmup

    def weight(self, step: int) -> float:
        """0 before the start, then a linear ramp to the full weight."""
        if step < self.start:
            return 0.0
        return self.full_weight * min(1.0, (step - self.start + 1) / max(self.ramp, 1))

    def generator_loss(self, reconstruction: Image) -> Float[Tensor, ""]:
        """Minus the mean of the discriminator's logits on the reconstruction."""
        self.check_size(reconstruction)
        return -self.network(reconstruction).mean()

    def discriminator_loss(self, image: Image, reconstruction: Image) -> Float[Tensor, ""]:
        """Half the sum of both pictures' hinge or logistic losses."""
        self.check_size(image)
        real, fake = self.network(image), self.network(reconstruction)
        if self.loss == "hinge":
            return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())

    def balance(
        self, reconstruction_loss: Float[Tensor, ""], generator_loss: Float[Tensor, ""], gradient: Gradient
    ) -> Float[Tensor, ""]:
        """lambda = clamp(|grad L_rec| / (|grad L_g| + 1e-4), 0, 1e4), gradients at the decoder's last weight
        (Esser et al. 2021, equation 7)."""
        reconstructing, fooling = (gradient(loss).norm() for loss in (reconstruction_loss, generator_loss))
        return (reconstructing / (fooling + 1e-4)).clamp(0, 1e4).detach()

    def check_size(self, image: Image) -> None:
        """Raises ValueError where a picture is too small to hold a patch."""
        if min(image.shape[-2:]) < self.smallest:
            raise ValueError(
                f"patch-adversarial needs pictures of {self.smallest} pixels a side or more; use fewer layers"
            )
