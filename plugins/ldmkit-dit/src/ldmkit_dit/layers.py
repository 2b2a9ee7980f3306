"""The layers of a diffusion transformer (Peebles and Xie 2023, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.types import Tokens

PerHead = Float[Tensor, "b n l d"]
Modulation = Float[Tensor, "b e"]


@dataclass(frozen=True)
class Memory:
    """What cross-attention reads: keys and values of each of its layers, and which tokens count."""

    keys_values: Mapping[CrossAttention, tuple[PerHead, PerHead]] = field(default_factory=dict)
    mask: Bool[Tensor, "b 1 1 l"] | None = None


def waves(positions: Float[Tensor, " n"], width: int, closed: bool = False) -> Float[Tensor, "n width"]:
    """[cos, sin] of positions at width/2 frequencies from 1 to 1e-4, the last included where `closed`, in
    float32."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=positions.device) / (half - closed)
    angles = positions.float()[:, None] * torch.exp(-math.log(1e4) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def grid_positions(rows: int, columns: int, width: int, device: torch.device) -> Float[Tensor, "l width"]:
    """Sines and cosines of each patch's column, then of its row: half the width each, row by row."""
    column, row = (torch.arange(n, device=device, dtype=torch.float32) for n in (columns, rows))
    across, down = (waves(x, width // 2).roll(width // 4, dims=1) for x in (column, row))  # sines first here
    return torch.cat([across.repeat(rows, 1), down.repeat_interleave(columns, 0)], dim=1)


def modulated(x: Tokens, shift: Modulation, scale: Modulation) -> Tokens:
    """LayerNorm without parameters of its own, scaled and shifted by the time embedding."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V over the patches."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tokens) -> Tokens:
        """Attention output, before any residual."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        h = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(h.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V with Q of the patches, K and V of the condition's tokens; starts at zero."""

    def __init__(self, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(tokens, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, tokens: Tokens) -> tuple[PerHead, PerHead]:
        """Keys and values for each head."""
        k, v = self.kv(tokens).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return k.transpose(1, 2), v.transpose(1, 2)

    def forward(self, x: Tokens, memory: Memory) -> Tokens:
        """Attention output, before any residual."""
        q = self.q(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = memory.keys_values[self]
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=memory.mask)
        return self.out(h.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Self-attention and feed-forward under adaLN-zero; between them cross-attention, if there are tokens."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.attention = SelfAttention(width, heads)
        self.cross = CrossAttention(width, tokens, heads) if tokens else None
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tokens, emb: Modulation, memory: Memory) -> Tokens:
        """The patches after the block; `emb` has passed its SiLU already, once for all blocks."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(emb).chunk(6, dim=1)
        x = x + gate1[:, None] * self.attention(modulated(x, shift1, scale1))
        if self.cross is not None:
            x = x + self.cross(x, memory)
        return x + gate2[:, None] * self.feed_forward(modulated(x, shift2, scale2))
