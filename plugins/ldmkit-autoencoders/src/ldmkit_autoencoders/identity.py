"""Pixels as latents: the paper's baseline, f = 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ldmkit.types import Image, Latent, LatentSpec, Posterior
from ldmkit_autoencoders.autoencoder import to_raw, to_scaled


class Identity(nn.Module):
    """Pictures as their own latents: diffusion in pixel space (Rombach et al. 2022, LDM-1). No parameters."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.latent = LatentSpec(channels=3, factor=1)
        self.register_buffer("scale", torch.ones(3))
        self.register_buffer("shift", torch.zeros(3))

    def encode(self, image: Image) -> Latent:
        """The picture, scaled."""
        return to_scaled(image, self.scale, self.shift)

    def decode(self, latent: Latent) -> Image:
        """The picture of a scaled latent."""
        return to_raw(latent, self.scale, self.shift)

    def posterior(self, image: Image) -> Posterior:
        """The picture itself, scaled, without a standard deviation and with penalty 0."""
        return Posterior(self.encode(image), None, image.new_zeros(len(image)))
