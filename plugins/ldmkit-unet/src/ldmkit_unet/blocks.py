"""Residual blocks and resampling of the UNet (Ho et al. 2020; Dhariwal and Nichol 2021, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.types import Tokens
from ldmkit_unet.conv import Conv3x3
from ldmkit_unet.norm import Norm

LOG_SLOWEST = torch.log(torch.tensor(1e4)).item()
"""log of the lowest frequency's inverse, rounded to float32 as published networks have it."""
Direction = Literal["up", "down"]
FeatureMap = Float[Tensor, "b k i j"]
TimeEmbedding = Float[Tensor, "b e"]
Layer = TypeVar("Layer", bound=nn.Module)


def zeroed(layer: Layer) -> Layer:
    """`layer` with every parameter at zero, so that the branch it ends starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def to_tokens(h: FeatureMap) -> Tokens:
    """Positions as tokens, row by row: a view where the map is channels-last, as maps are inside the UNet."""
    return h.flatten(2).transpose(1, 2)


def to_map(tokens: Tokens, size: Sequence[int]) -> FeatureMap:
    """The reverse of `to_tokens`, at (height, width)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *size)


def silu(h: FeatureMap) -> FeatureMap:
    """SiLU of a map that nothing else reads: in place where no gradient wants the map."""
    return F.silu(h, inplace=not torch.is_grad_enabled())


def joined(h: Tensor, branch: Tensor) -> Tensor:
    """h + branch, where nothing else reads the branch: in its place where no gradient wants it."""
    return h + branch if torch.is_grad_enabled() or h.dtype != branch.dtype else branch.add_(h)


def time_features(time: Float[Tensor, " b"], width: int) -> Float[Tensor, "b e"]:
    """[cos, sin] of time at width/2 frequencies from 1 to 1e-4, float32 (Vaswani et al. 2017, 3.5)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=time.device) / half
    angles = time.float()[:, None] * torch.exp(-exponents * LOG_SLOWEST)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Resample(nn.Module):
    """Halves ("down": strided convolution) or doubles ("up": nearest, then convolution) a feature map."""

    def __init__(self, channels: int, direction: Direction) -> None:
        super().__init__()
        self.direction = direction
        self.conv = Conv3x3(channels, channels, stride=2 if direction == "down" else 1)

    def forward(self, h: FeatureMap, emb: TimeEmbedding) -> FeatureMap:
        """`emb` is not used: the signature is that of a residual block, which may stand here instead."""
        if self.direction == "up":
            h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        return self.conv(h)


class ResidualBlock(nn.Module):
    """h + conv(silu(norm(conv(silu(norm(h))) + time))), resampled in between where a direction is given."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        emb_channels: int,
        dropout: float,
        scale_shift: bool,
        direction: Direction | None = None,
    ) -> None:
        super().__init__()
        self.direction = direction
        self.scale_shift = scale_shift
        self.norm1 = Norm(channels)
        self.conv1 = Conv3x3(channels, out_channels)
        self.time = nn.Linear(emb_channels, out_channels * (2 if scale_shift else 1))
        self.norm2 = Norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(Conv3x3(out_channels, out_channels))
        self.skip = nn.Identity() if channels == out_channels else nn.Linear(channels, out_channels)

    def forward(self, h: FeatureMap, emb: TimeEmbedding) -> FeatureMap:
        """`emb` has passed its SiLU already, once for all blocks."""
        inner = self.conv1(self._resample(silu(self.norm1(h))))
        time = self.time(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            inner = self.norm2(inner) * (1 + scale) + shift
        else:
            inner = self.norm2(joined(time, inner))
        h = self._resample(h)
        skip = to_map(self.skip(to_tokens(h)), h.shape[2:])
        return joined(skip, self.conv2(self.dropout(silu(inner))))

    def _resample(self, h: FeatureMap) -> FeatureMap:
        if self.direction is None:
            return h
        if self.direction == "up":
            return F.interpolate(h, scale_factor=2.0, mode="nearest")
        return F.avg_pool2d(h, 2)
