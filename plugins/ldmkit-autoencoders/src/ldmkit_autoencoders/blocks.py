"""The parts that encoder and decoder are made of (the paper's supplement, as published)."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32
"""GroupNorm groups of every norm; widths must be multiples of it."""

Map = Float[Tensor, "b k i j"]


class Norm(nn.GroupNorm):
    """GroupNorm of 32 groups, eps 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels, eps=1e-6)


def activate(x: Map) -> Map:
    """SiLU; in place where no gradient is wanted, which saves a copy of the largest maps."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


class ResidualBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))))), with a 1x1 shortcut where the width changes."""

    def __init__(self, channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = Norm(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = Norm(out_channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Map) -> Map:
        """The block's output; height and width stay."""
        h = self.conv1(activate(self.norm1(x)))
        h = self.conv2(self.dropout(activate(self.norm2(h))))
        return h + self.shortcut(x)


class Attention(nn.Module):
    """Self-attention over all positions: one head, scale C^-1/2, residual around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Map) -> Map:
        """The block's output, of `x`'s shape."""
        h = self.norm(x)
        q, k, v = (rearrange(f(h), "b c i j -> b 1 (i j) c") for f in (self.query, self.key, self.value))
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(h, "b 1 (i j) c -> b c i j", i=x.shape[2]))


class Downsample(nn.Module):
    """Halves height and width: zeros to the right and below, then a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Map) -> Map:
        """The halved map."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Map) -> Map:
        """The doubled map."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
