"""Encoder and decoder of every autoencoder of the paper: one topology, described once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torch.nn import functional as F

from ldmkit.types import Image
from ldmkit_autoencoders.blocks import (
    GROUPS,
    Attention,
    Downsample,
    Map,
    Norm,
    ResidualBlock,
    Upsample,
    activate,
)


@dataclass(frozen=True)
class Topology:
    """What determines encoder and decoder. `multipliers`: width of each level over `width`, the picture's own
    resolution first. Raises ValueError where no such network exists."""

    width: int
    multipliers: tuple[int | float, ...]
    blocks: int
    attention: tuple[int, ...]
    resolution: int
    middle_attention: bool
    dropout: float
    patch: int

    def __post_init__(self) -> None:
        for size in (self.width, *(self.width * m for m in self.multipliers)):
            if round(size, 6) % GROUPS:
                raise ValueError(
                    f"width {size:g} of a level (width {self.width} times a multiplier) is no multiple of "
                    f"{GROUPS}, the number of groups of its norms"
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(round(self.width * m) for m in self.multipliers)

    @property
    def factor(self) -> int:
        """How much smaller than the picture the latent is, each way."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    def encoder_attends(self, level: int) -> bool:
        """Whether a level of the encoder attends: by its nominal resolution, halved and rounded down."""
        return self.resolution // self.patch // 2**level in self.attention

    def decoder_attends(self, level: int) -> bool:
        """Whether a level of the decoder attends.

        The decoder doubles the smallest nominal resolution, which differs from the encoder's for odd ones.
        """
        last = len(self.multipliers) - 1
        return self.resolution // self.patch // 2**last * 2 ** (last - level) in self.attention


def stack(channels: int, out_channels: int, blocks: int, attends: bool, dropout: float) -> nn.Sequential:
    """Residual blocks in a row, the first of which changes the width, each with attention where wanted."""
    parts: list[nn.Module] = []
    for _ in range(blocks):
        parts.append(ResidualBlock(channels, out_channels, dropout))
        parts += [Attention(out_channels)] if attends else []
        channels = out_channels
    return nn.Sequential(*parts)


def middle(channels: int, topology: Topology) -> nn.Sequential:
    """A residual block, attention (unless it is switched off), and another residual block."""
    first, second = (ResidualBlock(channels, channels, topology.dropout) for _ in range(2))
    return nn.Sequential(first, *([Attention(channels)] if topology.middle_attention else []), second)


class Encoder(nn.Module):
    """The encoder without its regulariser: from a picture to moments."""

    def __init__(self, topology: Topology, out_channels: int) -> None:
        super().__init__()
        t, widths = topology, topology.widths
        self.patch = t.patch
        self.conv_in = nn.Conv2d(3 * t.patch**2, t.width, 3, padding=1)
        parts: list[nn.Sequential] = []
        for level, (before, width) in enumerate(pairwise((t.width, *widths))):
            parts.append(stack(before, width, t.blocks, t.encoder_attends(level), t.dropout))
            if level < len(widths) - 1:
                parts[-1].append(Downsample(width))
        self.levels = nn.Sequential(*parts)
        self.middle = middle(widths[-1], t)
        self.norm_out = Norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def forward(self, image: Image) -> Map:
        """The map that the regulariser reads, 1/factor of the picture's size."""
        # contiguous: on the CPU GroupNorm loses two digits on maps whose channels come last in memory
        h = self.conv_in(F.pixel_unshuffle(image.contiguous(), self.patch))
        h = self.middle(self.levels(h))
        return self.conv_out(activate(self.norm_out(h)))


class Decoder(nn.Module):
    """The decoder: from a latent to a picture. Its levels run from the smallest map to the picture's size."""

    def __init__(self, topology: Topology, in_channels: int) -> None:
        super().__init__()
        t, widths = topology, topology.widths[::-1]
        self.patch = t.patch
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.middle = middle(widths[0], t)
        parts: list[nn.Sequential] = []
        for level, (before, width) in enumerate(pairwise((widths[0], *widths))):
            attends = t.decoder_attends(len(widths) - 1 - level)
            parts.append(stack(before, width, t.blocks, attends, t.dropout))
            if level < len(widths) - 1:
                parts[-1].append(Upsample(width))
        self.levels = nn.Sequential(*parts)
        self.norm_out = Norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3 * t.patch**2, 3, padding=1)

    def forward(self, latent: Map) -> Image:
        """The picture, `factor` times the latent's size."""
        h = self.levels(self.middle(self.conv_in(latent.contiguous())))
        return F.pixel_shuffle(self.conv_out(activate(self.norm_out(h))), self.patch)
