"""Reconstruction losses between x~ = D(E(x)) and x."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.interfaces import FeatureNetwork
from ldmkit.types import Image


class Pixel(nn.Module):
    """The l1 or l2 distance of each pixel and colour channel, of pictures "b 3 H W" in [-1, 1].

    Args:
        norm: l1, the absolute difference (as published), or l2, its square
        weight: factor of the loss
    """

    def __init__(self, *, norm: Literal["l1", "l2"] = "l1", weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.distance = F.l1_loss if norm == "l1" else F.mse_loss
        self.weight = weight

    def forward(self, reconstruction: Image, image: Image) -> Float[Tensor, "b 3 H W"]:
        """The weighted distance of every element."""
        return self.weight * self.distance(reconstruction, image, reduction="none")


class Perceptual(nn.Module):
    """The squared distance between the feature maps of the reconstruction and those of the picture.

    The channels of each position are scaled to unit length first. Distances are averaged over the positions
    of a map and added up over the maps. Source: Zhang et al. 2018, equation 1, without the learned heads, so
    that its values are not those of LPIPS.

    Args:
        features: the feature network, by name
        weight: factor of the loss
    """

    def __init__(self, *, features: FeatureNetwork, weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.features = features
        self.weight = weight

    def forward(self, reconstruction: Image, image: Image) -> Float[Tensor, "b 1 1 1"]:
        """The weighted distance of each picture, from 0 to 4 a layer."""
        with torch.no_grad():
            target = [F.normalize(x, dim=1) for x in self.features(image)]
        got = [F.normalize(x, dim=1) for x in self.features(reconstruction)]
        layers = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(got, target, strict=True)]
        return self.weight * rearrange(torch.stack(layers).sum(0), "b -> b 1 1 1")
