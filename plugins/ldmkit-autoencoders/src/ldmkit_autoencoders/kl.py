"""The KL-regularised autoencoder."""

from __future__ import annotations

from typing import Any

from ldmkit_autoencoders.autoencoder import Autoencoder
from ldmkit_autoencoders.gaussian import Gaussian


class KLAutoencoder(Autoencoder):
    """The paper's autoencoder with KL-reg: a Gaussian posterior that a small penalty keeps near N(0, I).

    A picture "b 3 H W" in [-1, 1] has a latent "b channels H/factor W/factor". Raises ValueError where
    factor, patch and multipliers do not fit each other. Source: Rombach et al. 2022, section 3.1 and table 8.
    """

    def __init__(self, **networks: Any) -> None:
        super().__init__(Gaussian(), **networks)
