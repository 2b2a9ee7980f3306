"""The vector-quantized autoencoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ldmkit.types import Image, Latent
from ldmkit_autoencoders.autoencoder import (
    MULTIPLIERS,
    Autoencoder,
    Count,
    Multipliers,
    Rate,
    choose_multipliers,
)
from ldmkit_autoencoders.quantizer import Codes, VectorQuantizer

VQ_MULTIPLIERS = {**MULTIPLIERS, 8: (1, 2, 2, 4)}
"""The paper's widths of each level for its VQ autoencoders (table 8), by factor."""


class VQAutoencoder(Autoencoder):
    """The paper's autoencoder with VQ-reg (section 3.1): the decoder absorbs the quantization.

    Args:
        factor: how much smaller than the picture the latent is, each way; patch x 2^(levels - 1)
        channels: channels of the latent and of a code
        codebook_size: number of codes
        beta: weight of the commitment term, which pulls the encoder to its code
        order: what beta weighs; paper: the commitment; legacy, as the published code: the codebook term
        ema: decay of a codebook that follows the mean of its latents; default: it follows the gradient
        revive_after: a code unused for that many training passes is set to a latent of the batch; 0: never
        z_channels: channels on the networks' side of the 1x1 convolutions at the latent; default: channels
        width: channels of the first level before its multiplier; a multiple of 32
        multipliers: width of each level over `width`, the picture's resolution first; default: the paper's
        blocks: residual blocks of each level (the decoder has one more)
        attention: nominal resolutions that attend; those never reached change nothing
        resolution: the nominal picture size that `attention` counts from
        middle_attention: attention between the two blocks at the smallest resolution
        dropout: rate in the residual blocks
        patch: pixels a side folded into channels before the encoder, unfolded after the decoder
    """

    regulariser: VectorQuantizer

    def __init__(
        self,
        *,
        factor: Count = 4,
        channels: Count = 3,
        codebook_size: Count = 8192,
        beta: Annotated[float, Field(ge=0)] = 0.25,
        order: Literal["paper", "legacy"] = "paper",
        ema: Annotated[float, Field(gt=0, lt=1)] | None = None,
        revive_after: Annotated[int, Field(ge=0)] = 100,
        z_channels: Count | None = None,
        width: Count = 128,
        multipliers: Multipliers | None = None,
        blocks: Count = 2,
        attention: tuple[Count, ...] = (),
        resolution: Count = 256,
        middle_attention: bool = True,
        dropout: Rate = 0.0,
        patch: Count = 1,
    ) -> None:
        super().__init__(
            regulariser=VectorQuantizer(
                channels=channels,
                codebook_size=codebook_size,
                beta=beta,
                order=order,
                ema=ema,
                revive_after=revive_after,
            ),
            factor=factor,
            channels=channels,
            z_channels=z_channels,
            width=width,
            multipliers=choose_multipliers(factor, patch, multipliers, VQ_MULTIPLIERS),
            blocks=blocks,
            attention=attention,
            resolution=resolution,
            middle_attention=middle_attention,
            dropout=dropout,
            patch=patch,
        )

    def decode(self, latent: Latent, *, quantize: bool = True) -> Image:
        """The picture of a scaled latent's nearest codes, straight-through; of the latent itself where told
        not to quantize."""
        return super().decode(latent) if quantize else self.paint(self.to_raw(latent))

    def codes(self, latent: Latent) -> Codes:
        """The index of the code nearest to each position of a scaled latent."""
        return self.regulariser.codes(self.to_raw(latent))
