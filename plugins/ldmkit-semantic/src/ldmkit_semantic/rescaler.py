"""The paper's encoder of semantic maps, which joins a few channels to z_t."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import embedding, interpolate

from ldmkit.types import Condition, ConditionSpec, LatentSpec, Prepared
from ldmkit_semantic.maps import class_maps


class SpatialRescaler(nn.Module):
    """Halves a one-hot map `stages` times and maps it to a few channels by a 1x1 convolution.

    Both steps are linear and act on different axes, so the channels are mapped first, by a look-up of the
    class id, which needs no channel for each class at full size. The result is that of the published order up
    to rounding. The null condition is zeros. Source: Rombach et al. 2022, section 4.3.2.

    Args:
        field: the batch field that holds the maps, class ids "b H W".
        classes: how many classes there are.
        channels: how many channels join z_t.
        stages: how often the map is halved; 2^stages is the compression model's factor.
        method: how a halving interpolates.
        bias: give the 1x1 convolution a bias.
    """

    def __init__(
        self,
        latent: LatentSpec,
        *,
        field: str = "segmentation",
        classes: PositiveInt = 182,
        channels: PositiveInt = 3,
        stages: NonNegativeInt = 2,
        method: Literal["nearest", "bilinear", "bicubic", "area"] = "bilinear",
        bias: bool = False,
    ) -> None:
        super().__init__()
        if 2**stages != latent.factor:
            raise ValueError(f"stages {stages}: maps shrink by {2**stages}, pictures by {latent.factor}")
        self.field, self.classes, self.stages, self.method = field, classes, stages, method
        self.spec = ConditionSpec(fields=(field,), concat=channels, kinds={field: "map"})
        self.channel_mapper = nn.Conv2d(classes, channels, 1, bias=bias)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """The maps as class ids "b H W". Raises ValueError that says what is expected."""
        maps = class_maps(raw, self.field, self.classes)
        height, width = maps.shape[1:]
        if min(height, width) < 2**self.stages:
            least = 2**self.stages
            raise ValueError(
                f"{self.field}: a map of {height}x{width}; each side needs {least} pixels at least"
            )
        if height % 2**self.stages or width % 2**self.stages:
            raise ValueError(
                f"{self.field}: {height}x{width} maps; each side must be a multiple of {2**self.stages}"
            )
        return {self.field: maps}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """A condition with concat "b channels h w"; h and w are the map's sides over 2^stages."""
        x = self._map_channels(prepared[self.field])
        for _ in range(self.stages):
            x = interpolate(x, scale_factor=0.5, mode=self.method)
        return Condition(concat=x)

    def null(self, like: Condition) -> Condition:
        """A condition of zeros."""
        return like.map(torch.zeros_like)

    def _map_channels(self, ids: Tensor) -> Tensor:
        """The 1x1 convolution of the one-hot map: each class id picks its column."""
        x = embedding(ids, self.channel_mapper.weight[:, :, 0, 0].T)
        if self.channel_mapper.bias is not None:
            x = x + self.channel_mapper.bias
        return x.permute(0, 3, 1, 2)
