"""The vector-quantized autoencoder."""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from ldmkit.types import Image, Latent
from ldmkit_autoencoders.autoencoder import MULTIPLIERS, Autoencoder
from ldmkit_autoencoders.quantizer import Codes, Decay, Order, VectorQuantizer

VQ_MULTIPLIERS = {**MULTIPLIERS, 8: (1, 2, 2, 4)}
"""The paper's widths of each level for its VQ autoencoders (table 8), by factor."""


class VQAutoencoder(Autoencoder):
    """The paper's autoencoder with VQ-reg: the decoder reads the latent's vectors as the nearest codes.

    A picture "b 3 H W" in [-1, 1] has a latent "b channels H/factor W/factor", not quantized yet. Raises
    ValueError where factor, patch and multipliers do not fit each other. Source: Rombach et al. 2022, section
    3.1 and table 8.

    Args:
        channels: channels of the latent and of a code
        codebook_size: number of codes
        beta: weight of the commitment term, which pulls the encoder to its code
        order: what beta weighs; paper: the commitment; legacy, as the published code: the codebook term
        ema: decay of a codebook that follows the mean of its latents; default: it follows the gradient
        revive_after: a code unused for that many training passes is set to a latent of the batch; 0: never
    """

    published = VQ_MULTIPLIERS
    regulariser: VectorQuantizer

    def __init__(
        self,
        *,
        factor: PositiveInt = 4,
        channels: PositiveInt = 3,
        codebook_size: PositiveInt = 8192,
        beta: NonNegativeFloat = 0.25,
        order: Order = "paper",
        ema: Decay | None = None,
        revive_after: NonNegativeInt = 100,
        **networks: Any,
    ) -> None:
        quantizer = VectorQuantizer(
            channels=channels,
            codebook_size=codebook_size,
            beta=beta,
            order=order,
            ema=ema,
            revive_after=revive_after,
        )
        super().__init__(quantizer, factor=factor, channels=channels, **networks)

    def decode(self, latent: Latent, *, quantize: bool = True) -> Image:
        """The picture of a scaled latent's nearest codes (gradients pass straight through); without
        `quantize`, that of the latent itself."""
        return super().decode(latent) if quantize else self.paint(self.to_raw(latent))

    def codes(self, latent: Latent) -> Codes:
        """The index of the code nearest to each position of a scaled latent."""
        return self.regulariser.codes(self.to_raw(latent))
