"""Which blocks a UNet has, in what order, and with how many channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ldmkit_unet.attention import AttentionBlock, HeadOrder, SpatialTransformer
from ldmkit_unet.blocks import Direction, Resample, ResidualBlock
from ldmkit_unet.unet_block import UNetBlock

HEAD_CHANNELS = 32
"""Channels of an attention head where a recipe says neither them nor the number of heads."""


@dataclass(frozen=True)
class Layout:
    """The sizes from which the blocks of a UNet follow; `UNet` says what each is.

    depths: transformer blocks at each place with attention, a figure a level. tokens: width of the tokens
    that cross-attention reads; at 0 attention is plain self-attention.
    """

    width: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    heads: int | None
    head_channels: int | None
    depths: tuple[int, ...]
    cross_only: tuple[int, ...]
    scale_shift: bool
    resample: Literal["conv", "residual"]
    dropout: float
    head_order: HeadOrder
    tokens: int

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.multipliers):
            raise ValueError(
                f"depth has {len(self.depths)} figures for {len(self.multipliers)} levels: one a level"
            )

    def down(self) -> Iterator[UNetBlock]:
        """The way down: blocks of each level, halving between levels."""
        before = self.width
        for level, multiplier in enumerate(self.multipliers):
            channels = self.width * multiplier
            for _ in range(self.blocks):
                yield UNetBlock(self._block(before, channels), self._attention_at(level))
                before = channels
            if level < len(self.multipliers) - 1:
                yield UNetBlock(resample=self._resample(channels, "down"))

    def middle(self) -> Iterator[UNetBlock]:
        """Two blocks at the smallest size, the first with attention."""
        top = self.width * self.multipliers[-1]
        yield UNetBlock(self._block(top, top), self._attention(top, self.depths[-1]))
        yield UNetBlock(self._block(top, top))

    def up(self) -> Iterator[UNetBlock]:
        """The way up: each block also takes what the matching block on the way down gave."""
        skips = self._skip_channels()
        before = skips[-1]
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            channels = self.width * multiplier
            for i in range(self.blocks + 1):
                block = self._block(before + skips.pop(), channels)
                last = i == self.blocks and level > 0
                resample = self._resample(channels, "up") if last else None
                yield UNetBlock(block, self._attention_at(level), resample)
                before = channels

    def _skip_channels(self) -> list[int]:
        """Channels of the input convolution and of every block on the way down."""
        channels = [self.width]
        for level, multiplier in enumerate(self.multipliers):
            halving = level < len(self.multipliers) - 1
            channels += [self.width * multiplier] * (self.blocks + halving)
        return channels

    def _block(self, before: int, after: int, direction: Direction | None = None) -> ResidualBlock:
        return ResidualBlock(before, after, 4 * self.width, self.dropout, self.scale_shift, direction)

    def _resample(self, channels: int, direction: Direction) -> Resample | ResidualBlock:
        if self.resample == "residual":
            return self._block(channels, channels, direction)
        return Resample(channels, direction)

    def _attention_at(self, level: int) -> AttentionBlock | SpatialTransformer | None:
        attends = 2**level in self.attention
        channels, cross_only = self.width * self.multipliers[level], 2**level in self.cross_only
        return self._attention(channels, self.depths[level], cross_only) if attends else None

    def _attention(
        self, channels: int, depth: int, cross_only: bool = False
    ) -> AttentionBlock | SpatialTransformer:
        size = self.head_channels or HEAD_CHANNELS
        heads = self.heads or channels // size
        if channels % (self.heads or size):
            option = f"heads {self.heads}" if self.heads else f"head_channels {size}"
            raise ValueError(f"{option} does not divide the {channels} channels of a level with attention")
        if self.tokens:
            return SpatialTransformer(channels, self.tokens, heads, depth, cross_only)
        return AttentionBlock(channels, heads, self.head_order)
