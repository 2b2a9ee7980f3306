"""One entry of a UNet's path, of which its three lists are made."""

from __future__ import annotations

from typing import cast

from torch import nn

from ldmkit_unet.attention import AttentionBlock, Memory, SpatialTransformer
from ldmkit_unet.blocks import FeatureMap, Resample, ResidualBlock, TimeEmbedding


class UNetBlock(nn.Module):
    """One entry of the UNet's path: a residual block, attention, resampling; each may be absent."""

    def __init__(
        self,
        block: ResidualBlock | None = None,
        attention: AttentionBlock | SpatialTransformer | None = None,
        resample: Resample | ResidualBlock | None = None,
    ) -> None:
        super().__init__()
        self.block = block
        self.attention = attention
        self.resample = resample

    def forward(self, h: FeatureMap, emb: TimeEmbedding, memory: Memory) -> FeatureMap:
        """The feature map after the parts that are there."""
        if self.block is not None:
            h = self.block(h, emb)
        if self.attention is not None:
            h = self.attention(h, memory)
        if self.resample is not None:
            h = self.resample(h, emb)
        return h


def unet_blocks(modules: nn.ModuleList) -> list[UNetBlock]:
    """The blocks of one of a UNet's three lists."""
    # A cast, since a ModuleList does not say what it holds.
    return [cast(UNetBlock, module) for module in modules]
