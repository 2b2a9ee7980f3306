"""The time-conditional UNet with cross-attention (Rombach et al. 2022, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recompute

from ldmkit.types import Condition, ConditionSpec, Latent, LatentSpec, PerPicture
from ldmkit_unet.attention import HeadOrder, Memory, remember
from ldmkit_unet.blocks import (
    FeatureMap,
    TimeEmbedding,
    silu,
    time_features,
    zeroed,
)
from ldmkit_unet.checks import check_size, check_widths, note_blindness
from ldmkit_unet.conv import Conv3x3
from ldmkit_unet.layout import Layout
from ldmkit_unet.norm import Norm
from ldmkit_unet.reuse import Forecast

Rate = Annotated[float, Field(ge=0, lt=1)]


class UNet(nn.Module):
    """Time-conditional UNet whose intermediate layers read the condition through cross-attention.

    Input z_t "b c h w" with h and w divisible by patch * 2^(levels - 1), `time` "b", and a merged condition:
    tokens enter by cross-attention, concat channels are joined to z_t as [z_t, concat], a vector is added to
    the time embedding, see `vector`.
    Output "b out_channels h w". Where the conditions hold no tokens, attention is plain self-attention.

    Raises ValueError where widths, heads and groups do not fit each other.
    Source: Rombach et al. 2022, sections 3.2 and 3.3 and supplement; Dhariwal and Nichol 2021.

    Args:
        patch: side of the squares of latent positions that become one position of the first level (Hoogeboom
            et al. 2023, "simple diffusion", section 3.4); 2 leaves a quarter of the positions.
        width: channels of the first level, a multiple of 32.
        multipliers: channels of each level as multiples of the width; between two levels the map is halved.
        blocks: residual blocks a level on the way down; one more on the way up.
        attention: downsample factors at which there is attention (1: full latent size). The middle block
            always has it; factors that the UNet does not reach are allowed.
        heads: number of attention heads at every level; give this or head_channels.
        head_channels: channels of one attention head; 32 where neither this nor heads is given.
        depth: transformer blocks at each place with cross-attention; a list has one figure a level, and the
            middle block the last one's.
        cross_only: downsample factors at which transformer blocks read the tokens twice, and not the
            positions (Stable Diffusion's x4 upscaler); the middle block never does.
        scale_shift: the time embedding scales and shifts a residual block's second norm; else it is added.
        resample: "conv" halves and doubles by a convolution, "residual" by a residual block.
        dropout: rate inside residual blocks.
        checkpoint: compute activations again in the backward pass: less memory, slower.
        vector: how a condition's vector joins the time embedding: "linear", a layer without bias (on one-hot
            vectors: the published class embedding), or "mlp", two layers with SiLU between them (Podell
            et al. 2023, "SDXL", section 2.2).
        head_order: rows of plain attention's joint matrix, "legacy" [heads, 3, d] or "split" [3, heads, d].
    """

    def __init__(
        self,
        latent: LatentSpec,
        conditions: ConditionSpec,
        out_channels: int,
        *,
        patch: PositiveInt = 1,
        width: PositiveInt = 128,
        multipliers: tuple[PositiveInt, ...] = (1, 2, 4),
        blocks: PositiveInt = 2,
        attention: tuple[PositiveInt, ...] = (1, 2, 4),
        heads: PositiveInt | None = None,
        head_channels: PositiveInt | None = None,
        depth: PositiveInt | tuple[PositiveInt, ...] = 1,
        cross_only: tuple[PositiveInt, ...] = (),
        scale_shift: bool = False,
        resample: Literal["conv", "residual"] = "conv",
        dropout: Rate = 0.0,
        checkpoint: bool = False,
        vector: Literal["linear", "mlp"] = "linear",
        head_order: HeadOrder = "legacy",
    ) -> None:
        super().__init__()
        check_widths(width, multipliers, heads, head_channels)
        layout = Layout(
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            heads=heads,
            head_channels=head_channels,
            depths=(depth,) * len(multipliers) if isinstance(depth, int) else depth,
            cross_only=cross_only,
            scale_shift=scale_shift,
            resample=resample,
            dropout=dropout,
            head_order=head_order,
            tokens=conditions.tokens,
        )
        note_blindness(width, multipliers, scale_shift)
        self.latent, self.conditions, self.patch = latent, conditions, patch
        self.width, self.multipliers, self.blocks = width, multipliers, blocks
        self.attention, self.heads, self.head_channels = attention, heads, head_channels
        self.depth, self.cross_only, self.vector = depth, cross_only, vector
        self.scale_shift, self.resample, self.dropout = scale_shift, resample, dropout
        self.checkpoint, self.head_order = checkpoint, head_order
        self.time_embed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width)
        )
        self.vector_embed = _vector_embed(conditions.vector, 4 * width, vector)
        self.conv_in = Conv3x3((latent.channels + conditions.concat) * patch**2, width)
        self.down = nn.ModuleList(layout.down())
        self.middle = nn.ModuleList(layout.middle())
        self.up = nn.ModuleList(layout.up())
        self.norm_out = Norm(width * multipliers[0])
        self.conv_out = zeroed(Conv3x3(width * multipliers[0], out_channels * patch**2))

    def forward(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output "b out_channels h w"; ValueError where the condition does not fit `conditions`."""
        return self.bind(condition)(z, time)

    def bind(self, condition: Condition) -> Callable[[Latent, PerPicture], Latent]:
        """The network on one condition, whose keys, values and vector embedding are computed here, once."""
        return self._bound(condition, None)

    def bind_reusing(self, condition: Condition, interval: int) -> Callable[[Latent, PerPicture], Latent]:
        """The same, but only the first of every `interval` calls computes all blocks.

        The others compute the first convolution and the last block; what the blocks between them give is
        forecast, see `Forecast`.
        """
        return self._bound(condition, Forecast(interval))

    def _bound(
        self, condition: Condition, forecast: Forecast | None
    ) -> Callable[[Latent, PerPicture], Latent]:
        self.conditions.check(condition)
        memory = remember(self, condition)
        vector = None
        if self.vector_embed is not None and condition.vector is not None:
            vector = self.vector_embed(condition.vector)

        def bound(z: Latent, time: PerPicture) -> Latent:
            check_size(z, self.patch * 2 ** (len(self.multipliers) - 1))
            emb = self.time_embed(time_features(time, self.width).to(z))
            emb = F.silu(emb if vector is None else emb + vector)
            z = z if condition.concat is None else torch.cat([z, condition.concat], 1)
            z = F.pixel_unshuffle(z, self.patch)
            h = self.conv_in(z.contiguous(memory_format=torch.channels_last))
            deep = partial(self._deep, h, emb, memory)
            return self._shallow(h, forecast(deep) if forecast else deep(), emb, memory)

        return bound

    def _deep(self, h: FeatureMap, emb: TimeEmbedding, memory: Memory) -> FeatureMap:
        """All blocks but the last; the last one's input from below."""
        skips = [h]
        for block in self.down:
            h = self._through(block, h, emb, memory)
            skips.append(h)
        for block in self.middle:
            h = self._through(block, h, emb, memory)
        for block in self.up[:-1]:
            h = self._through(block, torch.cat([h, skips.pop()], dim=1), emb, memory)
        return h

    def _shallow(self, h: FeatureMap, deep: FeatureMap, emb: TimeEmbedding, memory: Memory) -> FeatureMap:
        """The output of the last block, which joins `deep` and the first convolution's map `h`."""
        h = self._through(self.up[-1], torch.cat([deep, h], dim=1), emb, memory)
        return F.pixel_shuffle(self.conv_out(silu(self.norm_out(h))), self.patch).contiguous()

    def _through(self, block: nn.Module, h: FeatureMap, emb: TimeEmbedding, memory: Memory) -> FeatureMap:
        if self.checkpoint and torch.is_grad_enabled():
            return recompute(block, h, emb, memory, use_reentrant=False)
        return block(h, emb, memory)


def _vector_embed(vector: int, width: int, kind: str) -> nn.Module | None:
    """The layers between a condition's vector and the time embedding; none where there is no vector."""
    if not vector:
        return None
    if kind == "linear":
        return nn.Linear(vector, width, bias=False)
    return nn.Sequential(nn.Linear(vector, width), nn.SiLU(), nn.Linear(width, width))
