"""The parts that encoder and decoder are made of (the paper's supplement, as published)."""

from __future__ import annotations

from itertools import product

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32
"""GroupNorm groups of every norm; widths must be multiples of it."""

Map = Float[Tensor, "b k i j"]


class Norm(nn.GroupNorm):
    """GroupNorm of 32 groups, eps 1e-6; of a single number a group too, which is its own mean."""

    def __init__(self, channels: int) -> None:
        super().__init__(GROUPS, channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized map."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


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
        # Written so that no map is held longer than it is needed: the first ones are as large as pictures.
        h = self.norm2(self.conv1(activate(self.norm1(x))))
        return self.conv2(self.dropout(activate(h))) + self.shortcut(x)


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
        """The block's output, of `x`'s shape. The 1x1 convolutions are computed as matrix products, the first
        three of them as one."""
        first = (self.query, self.key, self.value)
        weight, bias = torch.cat([f.weight for f in first]), torch.cat([_bias(f) for f in first])
        h = rearrange(self.norm(x), "b c i j -> b 1 (i j) c")
        q, k, v = F.linear(h, weight.flatten(1), bias).chunk(3, dim=-1)
        h = F.linear(F.scaled_dot_product_attention(q, k, v), self.out.weight.flatten(1), self.out.bias)
        return x + rearrange(h, "b 1 (i j) c -> b c i j", i=x.shape[2])


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


class Downsample(nn.Module):
    """Halves height and width: zeros to the right and below, then a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Map) -> Map:
        """The halved map."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles height and width: nearest neighbour, then a 3x3 convolution.

    Computed as four 2x2 convolutions of the small map, one for each place that a pixel can have in its pair:
    some of the nine taps fall on copies of one pixel there, and their weights add up. That takes 4/9 of the
    products, and the map of copies never exists.
    """

    taps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        taps = [[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
        self.register_buffer("taps", torch.tensor(taps), persistent=False)

    def forward(self, x: Map) -> Map:
        """The doubled map."""
        b, channels, h, w = x.shape
        padded = F.pad(x, (1, 1, 1, 1))
        doubled = x.new_empty(b, channels, h, 2, w, 2)
        for p, q in product((0, 1), (0, 1)):
            near = padded[..., p : p + h + 1, q : q + w + 1]
            kernel = torch.einsum("ac,bd,oicd->oiab", self.taps[p], self.taps[q], self.conv.weight)
            doubled[:, :, :, p, :, q] = F.conv2d(near, kernel, self.conv.bias)
        return doubled.flatten(4).flatten(2, 3)
