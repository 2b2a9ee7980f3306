"""Self-attention and the spatial transformer (section 3.3 of the paper; Vaswani et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.types import Condition, Tokens
from ldmkit_unet.blocks import FeatureMap, joined, to_map, to_tokens, zeroed
from ldmkit_unet.norm import Norm

HeadOrder = Literal["legacy", "split"]
PerHead = Float[Tensor, "b n l d"]


@dataclass(frozen=True)
class Memory:
    """What cross-attention reads: keys and values of each of its layers, and which tokens count."""

    keys_values: Mapping[CrossAttention, tuple[PerHead, PerHead]] = field(default_factory=dict)
    mask: Bool[Tensor, "b 1 1 l"] | None = None


def remember(module: nn.Module, condition: Condition) -> Memory:
    """The memory of all cross-attention layers in `module`: what does not change over the sampling steps."""
    tokens, mask = condition.tokens, condition.mask
    if tokens is None:
        return Memory()
    layers = [layer for layer in module.modules() if isinstance(layer, CrossAttention)]
    keys_values = {layer: layer.keys_values(tokens) for layer in layers}
    return Memory(keys_values, None if mask is None else mask[:, None, None, :])


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V over the tokens; queries, keys and values from one matrix.

    order: how the matrix's rows are laid out, "split" [3, heads, d] or "legacy" [heads, 3, d].
    """

    def __init__(self, channels: int, heads: int, bias: bool, order: HeadOrder = "split") -> None:
        super().__init__()
        self.heads = heads
        self.order = order
        self.qkv = nn.Linear(channels, 3 * channels, bias=bias)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tokens) -> Tokens:
        """Attention output, before any residual."""
        qkv = self.qkv(x)
        if self.order == "legacy":
            q, k, v = qkv.unflatten(-1, (self.heads, 3, -1)).unbind(-2)
        else:
            q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).unbind(-3)
        h = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(h.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V with Q of the feature map's tokens, K and V of tau_theta(y)."""

    def __init__(self, channels: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(tokens, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def keys_values(self, tokens: Tokens) -> tuple[PerHead, PerHead]:
        """Keys and values for each head."""
        k, v = self.kv(tokens).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return k.transpose(1, 2), v.transpose(1, 2)

    def forward(self, x: Tokens, memory: Memory) -> Tokens:
        """Attention output, before any residual."""
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = memory.keys_values[self]
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=memory.mask)
        return self.out(h.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """GEGLU (Shazeer 2020): the first half times the exact GELU of the second; inner width 4 x channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 8 * channels)
        self.out = nn.Linear(4 * channels, channels)

    def forward(self, x: Tokens) -> Tokens:
        """Output, before any residual."""
        (w_value, w_gate), (b_value, b_gate) = self.proj.weight.chunk(2), self.proj.bias.chunk(2)
        gate = F.gelu(F.linear(x, w_gate, b_gate))
        value = F.linear(x, w_value, b_value)
        return self.out(value * gate if torch.is_grad_enabled() else value.mul_(gate))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward; each behind a LayerNorm and beside a residual.

    cross_only: the first attention reads the condition's tokens too, in the place of the positions.
    """

    def __init__(self, channels: int, tokens: int, heads: int, cross_only: bool = False) -> None:
        super().__init__()
        self.cross_only = cross_only
        self.norm1 = nn.LayerNorm(channels)
        self.attn1: nn.Module = (
            CrossAttention(channels, tokens, heads)
            if cross_only
            else SelfAttention(channels, heads, bias=False)
        )
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = CrossAttention(channels, tokens, heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x: Tokens, memory: Memory) -> Tokens:
        """The tokens after the block."""
        first = self.norm1(x)
        x = joined(x, self.attn1(first, memory) if self.cross_only else self.attn1(first))
        x = joined(x, self.attn2(self.norm2(x), memory))
        return joined(x, self.ff(self.norm3(x)))


class AttentionBlock(nn.Module):
    """Plain self-attention over positions, for UNets without tokens."""

    def __init__(self, channels: int, heads: int, order: HeadOrder) -> None:
        super().__init__()
        self.norm = Norm(channels)
        self.attention = SelfAttention(channels, heads, bias=True, order=order)
        zeroed(self.attention.out)

    def forward(self, h: FeatureMap, memory: Memory) -> FeatureMap:
        """`memory` is not used: the signature is that of the spatial transformer."""
        return joined(h, to_map(self.attention(to_tokens(self.norm(h))), h.shape[2:]))


class SpatialTransformer(nn.Module):
    """Transformer blocks over positions, which read the condition's tokens (the paper, section 3.3)."""

    def __init__(self, channels: int, tokens: int, heads: int, depth: int, cross_only: bool = False) -> None:
        super().__init__()
        self.norm = Norm(channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(
            TransformerBlock(channels, tokens, heads, cross_only) for _ in range(depth)
        )
        self.proj_out = zeroed(nn.Linear(channels, channels))

    def forward(self, h: FeatureMap, memory: Memory) -> FeatureMap:
        """The feature map after the blocks and the residual around them."""
        x = self.proj_in(to_tokens(self.norm(h)))
        for block in self.blocks:
            x = block(x, memory)
        return joined(h, to_map(self.proj_out(x), h.shape[2:]))
