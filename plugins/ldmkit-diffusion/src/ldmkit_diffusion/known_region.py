"""Inpainting with any model: the region outside the mask is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from ldmkit.interfaces import CompressionModel, ConditionedEstimate
from ldmkit.pictures import batch, masks
from ldmkit.types import Conditions, Estimate, FieldKind, Image, Latent, Level, Request
from ldmkit_diffusion.guidance import with_clean


class KnownRegion:
    """Replaces the clean estimate outside the holes by the latent of the picture that is given.

    The model only has to fill in; it need not have been trained to. A latent position counts as known where
    no pixel of it is in a hole. The decoded picture gets the known pixels back as they were, unless `paste`
    is false. Source: Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential
    Equations", appendix I.2 (imputation), here on the clean estimate.

    Args:
        image: the input with the pictures.
        mask: the input with the masks, white (1) where the hole is.
        paste: put the known pixels into the decoded picture, so that they are exactly those given.
    """

    def __init__(
        self, compression: CompressionModel, *, image: str = "image", mask: str = "mask", paste: bool = True
    ) -> None:
        self.compression, self.paste = compression, paste
        self.image, self.mask = image, mask
        self.fields = (image, mask)
        self.kinds: dict[str, FieldKind] = {image: "picture", mask: "mask"}

    def check_inputs(self, raw: Mapping[str, Any], size: tuple[int, int] | None) -> None:
        """ValueError where pictures and masks cannot be read, or do not fit each other or the size."""
        self._read(raw, size)

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The estimate with the known region put in; an error where they do not fit."""
        image, mask = self._read(request.raw, request.size)
        with torch.no_grad():
            known = self.compression.encode(image)
        hole = holes(mask, known)

        def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
            estimates = estimate(z, level, conditions)
            return [with_clean(e, torch.where(hole, e.clean, known.to(z)), level) for e in estimates]

        return guided

    def finish(self, image: Image, request: Request) -> Image:
        """The decoded pictures with the known pixels in their place."""
        if not self.paste:
            return image
        known, mask = self._read(request.raw, request.size)
        return torch.where(mask > 0, image, known.to(image))

    def _read(
        self, raw: Mapping[str, Any], size: tuple[int, int] | None
    ) -> tuple[Image, Float[Tensor, "b 1 H W"]]:
        """The pictures and their masks, of the size that is sampled."""
        for field in self.fields:
            if field not in raw:
                raise ValueError(f"needs the input '{field}'")
        device = self.compression.scale.device
        image, mask = batch(raw, self.image).to(device), masks(raw, self.mask).to(device)
        if image.shape[2:] != mask.shape[2:]:
            raise ValueError(f"{self.mask}: {_size(mask)} masks for {_size(image)} pictures of {self.image}")
        if size and tuple(image.shape[2:]) != tuple(size):
            height, width = size
            raise ValueError(f"{self.image}: a picture of {_size(image)}, while {height}x{width} are sampled")
        return image, mask


def holes(mask: Float[Tensor, "b 1 H W"], latent: Latent) -> Bool[Tensor, "b 1 h w"]:
    """The latent positions that a hole touches."""
    height, width = latent.shape[2:]
    return adaptive_max_pool2d(mask, (height, width)) > 0


def _size(x: Tensor) -> str:
    return f"{x.shape[2]}x{x.shape[3]}"
