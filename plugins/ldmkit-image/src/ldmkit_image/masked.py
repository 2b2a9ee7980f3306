"""Inpainting: the latent of the masked picture and the mask join the latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import interpolate

from ldmkit.interfaces import CompressionModel
from ldmkit.pictures import batch, masks
from ldmkit.types import Condition, ConditionSpec, Latent, Prepared


class MaskedImage(nn.Module):
    """The masked picture and its mask as channels beside z_t (the paper's inpainting, section 4.5).

    Layout "paper": concat = [E(picture with black holes), the unscaled mode; the mask, resized by nearest and
    mapped to -1 (known) and 1 (hole)]; null: zeros. Layout "stable-diffusion", as Stable Diffusion's
    inpainting models: concat = [the mask, 0 (known) and 1 (hole); E(picture with grey holes), scaled]; null
    is the condition itself, since guidance there acts on the text alone. E is the recipe's own compression
    model: neither trained here nor part of this module's state.

    Args:
        image: the batch field that holds the pictures; what is in the holes is not looked at.
        mask: the batch field that holds the masks, 1 (white) where the hole is.
        layout: order and values of the channels, "paper" or "stable-diffusion".
    """

    def __init__(
        self,
        compression: CompressionModel,
        *,
        image: str = "image",
        mask: str = "mask",
        layout: Literal["paper", "stable-diffusion"] = "paper",
    ) -> None:
        super().__init__()
        self.layout = layout
        self.image, self.mask = image, mask
        self._compression = (compression,)  # in a tuple, so that it is no submodule: the system owns it
        channels = compression.latent.channels + 1
        self.spec = ConditionSpec(
            fields=(image, mask), concat=channels, kinds={image: "picture", mask: "mask"}
        )

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Pictures "b 3 H W" in [-1, 1], masks "b 1 H W" of 0 and 1; ValueError says what is expected."""
        image, mask = batch(raw, self.image), masks(raw, self.mask)
        if image.shape[0] != mask.shape[0] or image.shape[2:] != mask.shape[2:]:
            raise ValueError(f"{self.mask}: {_size(mask)} masks for {_size(image)} pictures of {self.image}")
        return {self.image: image, self.mask: mask}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """concat "b c+1 h w"."""
        image, mask = prepared[self.image], prepared[self.mask]
        paper = self.layout == "paper"
        latent = self._latent(image.masked_fill(mask.bool(), -1 if paper else 0), scaled=not paper)
        resized = interpolate(mask, size=latent.shape[2:], mode="nearest").to(latent)
        parts = [latent, 2 * resized - 1] if paper else [resized, latent]
        return Condition(concat=torch.cat(parts, dim=1))

    def null(self, like: Condition) -> Condition:
        """Zeros, or the condition itself."""
        return like.map(torch.zeros_like) if self.layout == "paper" else like

    @torch.no_grad()
    def _latent(self, image: torch.Tensor, scaled: bool) -> Latent:
        """The encoder's latent; without scale and shift unless `scaled`."""
        compression = self._compression[0]
        scale, shift = (x.view(-1, 1, 1) for x in (compression.scale, compression.shift))
        latent = compression.encode(image.to(scale.dtype))
        return latent if scaled else latent / scale + shift


def _size(x: torch.Tensor) -> str:
    b, _, h, w = x.shape
    return f"{b} of {h}x{w}"
