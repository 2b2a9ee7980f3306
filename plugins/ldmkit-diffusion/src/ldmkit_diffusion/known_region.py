"""Inpainting with any model: what a mask says is known stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from ldmkit.errors import UserError
from ldmkit.interfaces import CompressionModel, ConditionedEstimate
from ldmkit.pictures import normalize, to_tensor
from ldmkit.types import Conditions, Estimate, Image, Latent, Level, Request
from ldmkit_diffusion.guidance import with_clean


class KnownRegion:
    """Replaces the clean estimate outside the holes by the latent of the picture that is given.

    The model only has to fill in; it need not have been trained to. A latent position counts as known where
    no pixel of it is in a hole. Source: Song et al. 2021, "Score-Based Generative Modeling through Stochastic
    Differential Equations", appendix I.2 (imputation), here on the clean estimate.

    Args:
        image: the raw input with the pictures: PIL pictures or a tensor in [-1, 1].
        mask: the raw input with the masks, white (1) where the hole is.
    """

    def __init__(self, compression: CompressionModel, *, image: str = "image", mask: str = "mask") -> None:
        self.compression = compression
        self.image, self.mask = image, mask

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The estimate with the known region put in; UserError where the request lacks picture or mask."""
        image = pictures(request.raw, self.image).to(self.compression.scale.device)
        with torch.no_grad():
            known = self.compression.encode(image)
        hole = holes(request.raw, self.mask, known).to(known.device)

        def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
            said = estimate(z, level, conditions)
            return [with_clean(each, torch.where(hole, each.clean, known.to(z)), level) for each in said]

        return guided


def pictures(raw: Mapping[str, Any], field: str) -> Image:
    """A raw input as pictures in [-1, 1]; bytes are 0..255. UserError names the field."""
    batch = _stacked(raw, field, to_tensor)
    return normalize(batch) if batch.dtype == torch.uint8 else batch.float()


def holes(raw: Mapping[str, Any], field: str, latent: Latent) -> Bool[Tensor, "b 1 h w"]:
    """A raw input as latent positions that a hole touches; UserError names the field."""
    mask = _stacked(raw, field, lambda p: torch.from_numpy(np.array(p.convert("L"))))
    hole = mask >= 128 if mask.dtype == torch.uint8 else mask >= 0.5
    b, _, h, w = latent.shape
    pixels = hole.float().reshape(b, 1, *hole.shape[-2:])
    return adaptive_max_pool2d(pixels, (h, w)) > 0


def _stacked(raw: Mapping[str, Any], field: str, convert: Callable[[PIL.Image.Image], Tensor]) -> Tensor:
    if field not in raw:
        raise UserError(f"guidance (known-region): needs the input '{field}'")
    given = raw[field]
    if isinstance(given, Tensor):
        return given
    return torch.stack([convert(x) if isinstance(x, PIL.Image.Image) else torch.as_tensor(x) for x in given])
