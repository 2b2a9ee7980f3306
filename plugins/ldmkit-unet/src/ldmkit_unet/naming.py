"""Walks a UNet and names its layers as a published format does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from ldmkit.keymaps import Rule
from ldmkit_unet.attention import AttentionBlock, SelfAttention, SpatialTransformer
from ldmkit_unet.blocks import Resample, ResidualBlock
from ldmkit_unet.conv import Conv3x3
from ldmkit_unet.unet import UNet
from ldmkit_unet.unet_block import UNetBlock

TRANSFORMER_BLOCK = {
    "norm1": ("norm1",),
    "attn1.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn1.out": ("attn1.to_out.0",),
    "norm2": ("norm2",),
    "attn2.q": ("attn2.to_q",),
    "attn2.kv": ("attn2.to_k", "attn2.to_v"),
    "attn2.out": ("attn2.to_out.0",),
    "norm3": ("norm3",),
    "ff.proj": ("ff.net.0.proj",),
    "ff.out": ("ff.net.2",),
}
"""Both published formats name a transformer block's layers alike."""
CROSS_ONLY = {"attn1.q": ("attn1.to_q",), "attn1.kv": ("attn1.to_k", "attn1.to_v")}
"""What stands in place of attn1.qkv where the first attention reads tokens too."""


CHANNELS_SECOND = (0, 2, 3, 1)
"""Published convolutions hold their input channels second, ours hold them last."""


@dataclass(frozen=True)
class NamedLayer:
    """A layer under published names; its weight and, where it has one, its bias become rules. axes: of the
    published weight, where it is a 1x1 convolution."""

    layer: nn.Module
    own: str
    published: tuple[str, ...]
    interleave: int = 0
    axes: int | None = None

    def rules(self) -> Iterator[Rule]:
        """One rule a tensor."""
        for kind, _ in self.layer.named_parameters(recurse=False):
            names = tuple(f"{name}.{kind}" for name in self.published)
            weight = kind == "weight"
            order = CHANNELS_SECOND if weight and isinstance(self.layer, Conv3x3) else None
            yield Rule(f"{self.own}.{kind}", names, self.interleave, order, self.axes if weight else None)


class Places(Protocol):
    """Where a format keeps the blocks: published prefixes of (block, attention, resampling)."""

    def __call__(self, unet: UNet) -> Iterator[tuple[str, UNetBlock, tuple[str, str, str]]]:
        """(our prefix, block, published prefixes) for every block."""


@dataclass(frozen=True)
class Format:
    """A published format's names.

    outer, residual: of the layers outside the blocks and of a residual block's. plain_*: of an
    AttentionBlock, whose joint matrix is one tensor or three, and how many axes its weights have.
    class_embedding, vector_mlp: of the two ways in which a vector joins the time embedding. halving: of the
    strided convolution.
    """

    places: Places
    outer: Mapping[str, str]
    residual: Mapping[str, str]
    plain_norm: str
    plain_qkv: tuple[str, ...]
    plain_out: str
    plain_axes: int
    class_embedding: str
    vector_mlp: tuple[str, str]
    halving: str

    def rules(self, unet: UNet) -> list[Rule]:
        """Every tensor of `unet` under its published name."""
        rules = [rule for part in self._parts(unet) for rule in _in_form(part, unet).rules()]
        if isinstance(unet.vector_embed, nn.Linear):
            rules.append(Rule("vector_embed.weight", (self.class_embedding,), order=(1, 0)))
        return rules

    def _parts(self, unet: UNet) -> Iterator[NamedLayer]:
        for own, published in self.outer.items():
            yield NamedLayer(unet.get_submodule(own), own, (published,))
        if isinstance(unet.vector_embed, nn.Sequential):
            for own, published in zip(("vector_embed.0", "vector_embed.2"), self.vector_mlp, strict=True):
                yield NamedLayer(unet.get_submodule(own), own, (published,))
        for prefix, unet_block, (block, attention, resample) in self.places(unet):
            yield from self._layer(unet_block.block, f"{prefix}.block", block)
            yield from self._layer(unet_block.attention, f"{prefix}.attention", attention)
            yield from self._layer(unet_block.resample, f"{prefix}.resample", resample)

    def _layer(self, layer: nn.Module | None, own: str, published: str) -> Iterator[NamedLayer]:
        if isinstance(layer, ResidualBlock):
            for name, child in layer.named_children():
                if name in self.residual:
                    names = (f"{published}.{self.residual[name]}",)
                    yield NamedLayer(child, f"{own}.{name}", names, axes=4 if name == "skip" else None)
        elif isinstance(layer, Resample):
            conv = self.halving if layer.direction == "down" else "conv"
            yield NamedLayer(layer.conv, f"{own}.conv", (f"{published}.{conv}",))
        elif isinstance(layer, SpatialTransformer):
            yield from self._transformer(layer, own, published)
        elif isinstance(layer, AttentionBlock):
            yield from self._plain(layer, own, published)

    def _plain(self, layer: AttentionBlock, own: str, published: str) -> Iterator[NamedLayer]:
        inner: SelfAttention = layer.attention
        names = tuple(f"{published}.{name}" for name in self.plain_qkv)
        interleave = inner.heads if len(names) > 1 and inner.order == "legacy" else 0
        yield NamedLayer(layer.norm, f"{own}.norm", (f"{published}.{self.plain_norm}",))
        yield NamedLayer(inner.qkv, f"{own}.attention.qkv", names, interleave, self.plain_axes)
        out = (f"{published}.{self.plain_out}",)
        yield NamedLayer(inner.out, f"{own}.attention.out", out, axes=self.plain_axes)

    def _transformer(self, layer: SpatialTransformer, own: str, published: str) -> Iterator[NamedLayer]:
        yield NamedLayer(layer.norm, f"{own}.norm", (f"{published}.norm",))
        yield NamedLayer(layer.proj_in, f"{own}.proj_in", (f"{published}.proj_in",), axes=4)
        for depth, block in enumerate(layer.blocks):
            inner = f"{published}.transformer_blocks.{depth}"
            for name, parts in _layers(block):
                names = tuple(f"{inner}.{part}" for part in parts)
                yield NamedLayer(block.get_submodule(name), f"{own}.blocks.{depth}.{name}", names)
        yield NamedLayer(layer.proj_out, f"{own}.proj_out", (f"{published}.proj_out",), axes=4)


def _layers(block: nn.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A transformer block's layers and their published names."""
    for name, parts in TRANSFORMER_BLOCK.items():
        if name == "attn1.qkv" and block.cross_only:
            yield from CROSS_ONLY.items()
        else:
            yield name, parts


def _in_form(part: NamedLayer, unet: UNet) -> NamedLayer:
    """The part in the form that the published models have: those with two layers for a vector have linear
    layers around their transformers, the others 1x1 convolutions of the same numbers."""
    linear = unet.vector == "mlp" and part.own.endswith(("proj_in", "proj_out"))
    return replace(part, axes=None) if linear else part


def as_unet(module: nn.Module) -> UNet:
    """`module`, which must be a UNet: ValueError otherwise."""
    if not isinstance(module, UNet):
        raise ValueError(f"the key map names the tensors of a UNet, not of a {type(module).__name__}")
    return module
