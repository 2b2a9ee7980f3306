"""The autoencoder of section 3.1: encoder, regulariser, decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ldmkit.interfaces import Regulariser
from ldmkit.types import Image, Latent, LatentSpec, Posterior
from ldmkit_autoencoders.network import Decoder, Encoder, Topology

Multiplier = PositiveInt | PositiveFloat
Multipliers = Annotated[tuple[Multiplier, ...], Field(min_length=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]

MULTIPLIERS = {
    1: (1,),
    2: (1, 2),
    4: (1, 2, 4),
    8: (1, 2, 4, 4),
    16: (1, 1, 2, 2, 4),
    32: (1, 1, 2, 2, 4, 4),
}
"""The paper's widths of each level for its KL autoencoders (table 8), by factor."""


def choose_multipliers(
    factor: int,
    patch: int,
    multipliers: tuple[int | float, ...] | None,
    published: Mapping[int, tuple[int, ...]] = MULTIPLIERS,
) -> tuple[int | float, ...]:
    """The given multipliers, checked against the factor, or the published ones. Raises ValueError."""
    if multipliers is not None:
        implied = patch * 2 ** (len(multipliers) - 1)
        if implied != factor:
            raise ValueError(
                f"{len(multipliers)} multipliers and patch {patch} give factor {implied}, not {factor}; "
                "factor = patch x 2^(multipliers - 1)"
            )
        return multipliers
    if factor % patch or factor // patch not in published:
        raise ValueError(
            f"no published widths for factor {factor} with patch {patch}; factor over patch is one of "
            f"{', '.join(map(str, published))}, or give the multipliers"
        )
    return published[factor // patch]


def _as_many(
    multipliers: tuple[int | float, ...], encoder: tuple[int | float, ...]
) -> tuple[int | float, ...]:
    if len(multipliers) != len(encoder):
        raise ValueError(
            f"{len(multipliers)} decoder_multipliers for {len(encoder)} levels: the decoder doubles the map "
            "as often as the encoder halves it"
        )
    return multipliers


class Autoencoder(nn.Module):
    """The paper's encoder and decoder around a regulariser of the latent space.

    A picture "b 3 H W" in [-1, 1] has a latent "b channels H/factor W/factor". Raises ValueError where
    factor, patch and multipliers do not fit each other. Source: Rombach et al. 2022, section 3.1 and table 8.

    Args:
        factor: how much smaller than the picture the latent is, each way; patch x 2^(levels - 1)
        channels: channels of the latent
        z_channels: channels on the networks' side of the 1x1 convolutions at the latent; default: channels
        width: channels of the first level before its multiplier; a multiple of 32
        multipliers: width of each level over `width`, the picture's resolution first; default: the paper's
        blocks: residual blocks of each level (the decoder has one more)
        attention: nominal resolutions that attend; those never reached change nothing
        resolution: the nominal picture size that `attention` counts from
        middle_attention: attention between the two blocks at the smallest resolution
        dropout: rate in the residual blocks
        patch: pixels a side folded into channels before the encoder, unfolded after the decoder
        decoder_width: channels of the decoder's level at the picture's resolution, before its multiplier;
            default: width. A narrower decoder takes less time over the same latents (as in "asymmetric"
            autoencoders; Zhu et al. 2023)
        decoder_multipliers: width of each level of the decoder over `decoder_width`, as many as the encoder
            has levels; default: multipliers
        decoder_blocks: residual blocks of each level of the decoder; default: blocks + 1
    """

    published: Mapping[int, tuple[int, ...]] = MULTIPLIERS
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        regulariser: Regulariser,
        *,
        factor: PositiveInt = 8,
        channels: PositiveInt = 4,
        z_channels: PositiveInt | None = None,
        width: PositiveInt = 128,
        multipliers: Multipliers | None = None,
        blocks: PositiveInt = 2,
        attention: tuple[PositiveInt, ...] = (),
        resolution: PositiveInt = 256,
        middle_attention: bool = True,
        dropout: Rate = 0.0,
        patch: PositiveInt = 1,
        decoder_width: PositiveInt | None = None,
        decoder_multipliers: Multipliers | None = None,
        decoder_blocks: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        chosen = choose_multipliers(factor, patch, multipliers, self.published)
        topology = Topology(width, chosen, blocks, attention, resolution, middle_attention, dropout, patch)
        painting = replace(
            topology,
            width=decoder_width or width,
            multipliers=_as_many(decoder_multipliers or chosen, chosen),
            blocks=decoder_blocks or blocks + 1,
        )
        inner = channels if z_channels is None else z_channels
        self.latent = LatentSpec(channels, factor)
        self.regulariser = regulariser
        self.encoder = Encoder(topology, regulariser.moments(inner))
        self.to_moments = nn.Conv2d(regulariser.moments(inner), regulariser.moments(channels), 1)
        self.from_latent = nn.Conv2d(channels, inner, 1)
        self.decoder = Decoder(painting, inner)
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels))

    def encode(self, image: Image) -> Latent:
        """The posterior's mode, scaled; with a quantizer, the latent before quantization. ValueError where
        height or width is no multiple of the factor."""
        return self.to_scaled(self.regulariser.mode(self.moments(image)))

    def decode(self, latent: Latent) -> Image:
        """The picture of a scaled latent; differentiable."""
        return self.paint(self.regulariser.restore(self.to_raw(latent)))

    def paint(self, raw: Latent) -> Image:
        """The picture of an unscaled latent, as it is."""
        return self.decoder(self.from_latent(raw))

    def posterior(self, image: Image) -> Posterior:
        """q(z | x), mode and std scaled; the penalty is that of the unscaled latent."""
        raw = self.regulariser.posterior(self.moments(image))
        std = None if raw.std is None else raw.std * per_channel(self.scale)
        return Posterior(self.to_scaled(raw.mode), std, raw.penalty, raw.metrics)

    def moments(self, image: Image) -> Float[Tensor, "b k h w"]:
        """The encoder's output, from which the regulariser computes the posterior."""
        height, width = image.shape[-2:]
        if height % self.latent.factor or width % self.latent.factor:
            raise ValueError(f"a picture of {height} x {width} is no multiple of factor {self.latent.factor}")
        return self.to_moments(self.encoder(image.to(self.scale.dtype)))

    def to_scaled(self, raw: Latent) -> Latent:
        """(raw - shift) * scale."""
        return to_scaled(raw, self.scale, self.shift)

    def to_raw(self, latent: Latent) -> Latent:
        """The reverse of `to_scaled`."""
        return to_raw(latent.to(self.scale.dtype), self.scale, self.shift)


def per_channel(vector: Float[Tensor, " c"]) -> Float[Tensor, "1 c 1 1"]:
    """The vector in the shape in which it multiplies a latent."""
    return rearrange(vector, "c -> 1 c 1 1")


def to_scaled(raw: Latent, scale: Float[Tensor, " c"], shift: Float[Tensor, " c"]) -> Latent:
    """(raw - shift) * scale."""
    return (raw - per_channel(shift)) * per_channel(scale)


def to_raw(latent: Latent, scale: Float[Tensor, " c"], shift: Float[Tensor, " c"]) -> Latent:
    """The reverse of `to_scaled`."""
    return latent / per_channel(scale) + per_channel(shift)


class AnyAutoencoder(Autoencoder):
    """The paper's encoder and decoder (section 3.1) around any regulariser of the latent space.

    Args:
        regulariser: the regulariser, such as `gaussian` (KL-reg) or `vector-quantizer` (VQ-reg)
    """

    def __init__(self, *, regulariser: Regulariser, **networks: Any) -> None:
        super().__init__(regulariser, **networks)
