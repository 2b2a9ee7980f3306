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
    """The part of torch.nn.Module that the engine and the training loop use. A component whose Protocol
    inherits from this one must be a torch.nn.Module."""

    training: bool

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The module's weights."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights with their names."""

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their names."""

    def modules(self) -> Iterator[nn.Module]:
        """The module and those inside it."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The module and those inside it, with their names."""

    def state_dict(self) -> dict[str, Any]:
        """Weights and saved buffers by name."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freezes the weights or lets them be trained."""

    def train(self, mode: bool = True) -> Self:
        """Sets training mode (dropout is on) or evaluation mode."""

    def eval(self) -> Self:
        """Sets evaluation mode: torch.nn.Module's own method of this name, which runs no text as code."""


class CompressionModel(Module, Protocol):
    """E and D of section 3.1. `scale` and `shift` are saved buffers, one entry a channel:
    a scaled latent is (raw - shift) * scale. They are 1 and 0 until measured on data."""

    latent: LatentSpec
    scale: Float[Tensor, " c"]
    shift: Float[Tensor, " c"]

    def encode(self, image: Image) -> Latent:
        """The scaled mode of the posterior; for VQ, the latent before quantization."""

    def decode(self, latent: Latent) -> Image:
        """The picture of a scaled latent; differentiable. VQ quantizes first, straight-through."""

    def posterior(self, image: Image) -> Posterior:
        """The scaled posterior q(z | x), for training and for cached latents."""


class Regulariser(Module, Protocol):
    """The regulariser of an autoencoder's latent space (KL or VQ, section 3.1), between encoder and decoder.
    Its latents are unscaled."""

    def moments(self, channels: int) -> int:
        """Output channels of the encoder for a latent of `channels`. Raises ValueError for a number of
        channels that it does not support."""

    def mode(self, moments: Float[Tensor, "b k h w"]) -> Latent:
        """The mode of q(z | x)."""

    def posterior(self, moments: Float[Tensor, "b k h w"]) -> Posterior:
        """q(z | x) with its penalty."""

    def restore(self, latent: Latent) -> Latent:
        """The latent as the decoder reads it: quantized for VQ (straight-through), unchanged for KL."""


class Conditioner(Module, Protocol):
    """tau_theta of section 3.3: encodes fields of a batch as a `Condition`.

    Three members are optional. `default(count, size) -> Prepared` is the prepared input for `count` pictures
    of (height, width) where the user gives none of its fields; without it the fields are required.
    `unread(raw) -> list[str]` is a line for each picture of whose raw inputs a part is not read, such as the
    end of a long caption; users are told. `names: Sequence[str]` is what it calls the labels of its field, by
    id: data whose `class_names` have such a name under another id are refused.
    """

    spec: ConditionSpec

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Converts raw batches by field (strings, ids, pictures...) to tensors. Tensors that this method made
        are returned unchanged. Uses no weights. Raises ValueError that names the field and what it
        expects."""

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """The condition. `generator` draws the noise of conditioning augmentation, where there is any."""

    def null(self, like: Condition) -> Condition:
        """The null (unconditional) condition in the shape of `like`, for guidance and dropout."""


BoundNetwork = Callable[[Latent, PerPicture], Latent]
"""bound(z_t, time): the raw output of a denoiser on one condition."""


class Denoiser(Module, Protocol):
    """The network eps_theta(z_t, t, condition); `condition` is merged from all conditioners.

    One method is optional: `bind_reusing(condition, interval) -> BoundNetwork`, as `bind`, but the deep
    features are computed in the first of every `interval` calls and reused in the others (DeepCache).
    """

    def __call__(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output."""

    def bind(self, condition: Condition) -> BoundNetwork:
        """The network on one condition: what does not change between steps (keys, values) is computed
        once."""
