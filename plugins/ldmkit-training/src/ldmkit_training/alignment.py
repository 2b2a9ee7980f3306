"""Representation alignment: REPA (Yu et al. 2024), for UNets too (U-REPA, Tian et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.interfaces import FeatureNetwork
from ldmkit.types import Image, Level, PerPicture

Positions = Float[Tensor, "b k i j"]
PROBED = 64
"""Side of the picture on which the feature network's channels are read off."""


class Alignment(nn.Module):
    """weight x (1 - mean cosine) between a layer's projected features and a frozen network's, by position.

    The head, three linear layers with SiLU between (REPA, section 3), maps each position of the layer to the
    network's channels. Where the grids differ, the projection is resampled to the network's (as U-REPA does
    for the coarse middle of a UNet). Trained with the denoiser, unused at sampling.

    Args:
        layer: the denoiser's submodule whose output, "b k i j" or "b l k", is aligned.
        features: the frozen network by name; it sees the clean picture.
        level: which of its feature maps, counted from the shallowest; -1 is the deepest.
        weight: factor of the loss; the paper's is 0.5.
        manifold: factor, within the weight, of the mean squared difference between the cosine similarities of
            all pairs of positions in the projection and in the features, after U-REPA; 0 leaves it out.
        width: inner width of the head.
    """

    def __init__(
        self,
        *,
        layer: str,
        features: FeatureNetwork,
        level: int = -1,
        weight: NonNegativeFloat = 0.5,
        manifold: NonNegativeFloat = 0.0,
        width: PositiveInt = 512,
    ) -> None:
        super().__init__()
        self.layers = (layer,)
        self.features, self.level = features, level
        self.weight, self.manifold = weight, manifold
        for parameter in features.parameters():
            parameter.requires_grad_(False)
        with torch.no_grad():
            maps = features(torch.zeros(1, 3, PROBED, PROBED))
        if not -len(maps) <= level < len(maps):
            raise ValueError(f"level {level}: the network has {len(maps)} feature maps")
        channels = maps[level].shape[1]
        self.head = nn.Sequential(
            nn.LazyLinear(width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, channels)
        )

    def forward(self, features: Mapping[str, Any], image: Image, level: Level) -> PerPicture:
        """The weighted loss of each picture, at every noise level alike."""
        with torch.no_grad():
            target = F.normalize(self.features(image)[self.level], dim=1)
        aligned = self.projection(features[self.layers[0]], target.shape[2:])
        loss = 1 - (aligned * target).sum(1).mean((1, 2))
        if self.manifold:
            loss = loss + self.manifold * (similarities(aligned) - similarities(target)).square().mean((1, 2))
        return self.weight * loss

    def projection(self, output: Tensor, size: tuple[int, ...]) -> Positions:
        """The head's output, scaled to unit length, on the grid of `size`."""
        if output.ndim not in (3, 4):
            raise ValueError(f"layer '{self.layers[0]}' puts out {tuple(output.shape)}, no positions")
        shape = output.shape[2:] if output.ndim == 4 else _grid(output.shape[1], size)
        tokens = output.flatten(2).transpose(1, 2) if output.ndim == 4 else output
        projected = self.head(tokens).transpose(1, 2).unflatten(2, shape)
        if shape != size:
            projected = F.interpolate(projected, size=size, mode="bilinear", antialias=True)
        return F.normalize(projected, dim=1)


def similarities(positions: Positions) -> Float[Tensor, "b n n"]:
    """Cosines between all pairs of positions of a picture; the vectors have unit length."""
    vectors = positions.flatten(2)
    return vectors.transpose(1, 2) @ vectors


def _grid(count: int, size: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of `count` tokens of a picture with the aspect ratio of `size`."""
    height = max(round((count * size[0] / size[1]) ** 0.5), 1)
    if height * (count // height) != count:
        raise ValueError(f"{count} tokens are no grid of the picture's shape")
    return height, count // height
