"""What has weights and learns them: both stages and the conditioners."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.types import (
    Condition,
    ConditionSpec,
    Image,
    Latent,
    LatentSpec,
    PerPicture,
    Posterior,
    Prepared,
)


class Module(Protocol):
    """What the engine and the training loop use of an nn.Module. A component whose Protocol inherits from
    this one inherits from torch.nn.Module."""

    training: bool

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The module's weights."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The same with their names."""

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Tensors that are no weights, with their names."""

    def modules(self) -> Iterator[nn.Module]:
        """The module and those inside it."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The module and those inside it, with their names."""

    def state_dict(self) -> dict[str, Any]:
        """Weights and saved buffers by name."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freezes the weights or lets them be trained."""

    def train(self, mode: bool = True) -> Self:
        """To the behaviour of training (dropout is on) or not."""

    def eval(self) -> Self:
        """To the behaviour of sampling."""


class CompressionModel(Module, Protocol):
    """E and D of section 3.1. `scale` and `shift` are saved buffers, one entry a channel:
    a scaled latent is (raw - shift) * scale. They are 1 and 0 until measured on data."""

    latent: LatentSpec
    scale: Float[Tensor, " c"]
    shift: Float[Tensor, " c"]

    def encode(self, image: Image) -> Latent:
        """The posterior's mode, scaled; VQ: the latent before quantization."""

    def decode(self, latent: Latent) -> Image:
        """The picture of a scaled latent; differentiable. VQ quantizes first, straight-through."""

    def posterior(self, image: Image) -> Posterior:
        """What training and the latent cache need."""


class Regulariser(Module, Protocol):
    """What keeps an autoencoder's latent in bounds (section 3.1), between encoder and decoder.
    Latents here are unscaled."""

    def moments(self, channels: int) -> int:
        """Channels that the encoder puts out for a latent of `channels`; ValueError where it has no such."""

    def mode(self, moments: Float[Tensor, "b k h w"]) -> Latent:
        """The most likely latent."""

    def posterior(self, moments: Float[Tensor, "b k h w"]) -> Posterior:
        """q(z | x) with its penalty."""

    def restore(self, latent: Latent) -> Latent:
        """What the decoder is shown of a latent (its nearest codes...); differentiable, straight-through."""


class Conditioner(Module, Protocol):
    """tau_theta of section 3.3: makes a `Condition` of batch fields.

    One method is optional: `default(count, size) -> Prepared`, what is prepared for so many pictures of
    (height, width) where a person gives none of its fields. Without it they must be given.
    """

    spec: ConditionSpec

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Raw batches by field (strings, ids, pictures...) to tensors; what is prepared passes through.
        Uses no weights. Raises ValueError naming the field and what it expects."""

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """The condition; `generator` is for conditioning noise, where there is any."""

    def null(self, like: Condition) -> Condition:
        """The condition that says nothing, in the shape of `like`; for guidance and dropout."""


BoundNetwork = Callable[[Latent, PerPicture], Latent]
"""bound(z_t, time): the raw output of a denoiser on one condition."""


class Denoiser(Module, Protocol):
    """The network eps_theta, told z_t, time and one merged condition.

    One method is optional: `bind_reusing(condition, interval) -> BoundNetwork`, as `bind`, but what is deep
    in the network is computed at the first of every `interval` calls and kept for the others.
    """

    def __call__(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output."""

    def bind(self, condition: Condition) -> BoundNetwork:
        """The network with what does not change over the steps (keys, values) computed once."""
