"""The KL-regularised autoencoder."""

from __future__ import annotations

from typing import Any

from ldmkit_autoencoders.autoencoder import Autoencoder
from ldmkit_autoencoders.gaussian import Gaussian


class KLAutoencoder(Autoencoder):
    """The paper's autoencoder with KL-reg (section 3.1): a Gaussian posterior near N(0, I)."""

    def __init__(self, **networks: Any) -> None:
        super().__init__(Gaussian(), **networks)
