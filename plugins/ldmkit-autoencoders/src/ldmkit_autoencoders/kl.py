"""The KL-regularised autoencoder."""

from __future__ import annotations

from ldmkit_autoencoders.autoencoder import Autoencoder, Count, Multipliers, Rate
from ldmkit_autoencoders.gaussian import Gaussian


class KLAutoencoder(Autoencoder):
    """The paper's autoencoder with KL-reg (section 3.1): a Gaussian posterior near N(0, I).

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
    """

    def __init__(
        self,
        *,
        factor: Count = 8,
        channels: Count = 4,
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
            regulariser=Gaussian(),
            factor=factor,
            channels=channels,
            z_channels=z_channels,
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            resolution=resolution,
            middle_attention=middle_attention,
            dropout=dropout,
            patch=patch,
        )
