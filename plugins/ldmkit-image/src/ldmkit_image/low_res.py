"""Super-resolution: the low-resolution picture itself joins the latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_unshuffle

from ldmkit.pictures import batch
from ldmkit.types import Condition, ConditionSpec, LatentSpec, Prepared


class LowRes(nn.Module):
    """The low-resolution picture as channels beside z_t (the paper's super-resolution, section 4.4).

    Where it has the latent's size these are its three channels. A larger one is folded: each square of k x k
    pixels becomes one position of 3 k^2 channels. A smaller one is enlarged by nearest neighbour. With
    `noise`, training adds noise of a standard deviation drawn from [0, noise], which the network reads in one
    more channel; sampling adds none, and that channel is 0 (conditioning augmentation, Ho et al. 2022,
    "Cascaded Diffusion Models", section 4.2). Null: zeros (grey).

    Args:
        field: the batch field that holds the low-resolution pictures.
        factor: how many times larger the picture's sides are; by default the compression model's factor.
        noise: the largest standard deviation of the noise, for values in [-1, 1].
    """

    def __init__(
        self,
        latent: LatentSpec | None = None,
        *,
        field: str = "low_res",
        factor: PositiveInt | None = None,
        noise: NonNegativeFloat = 0.0,
    ) -> None:
        super().__init__()
        self.field, self.noise = field, noise
        whole = latent.factor if latent else factor or 1
        self.factor = factor or whole
        self.fold, rest = divmod(whole, self.factor)
        self.enlarge, more = divmod(self.factor, whole)
        if rest and more:
            raise ValueError(f"factor {factor} is neither a divisor nor a multiple of the latent's {whole}")
        channels = 3 * max(self.fold, 1) ** 2 + (noise > 0)
        self.spec = ConditionSpec(fields=(field,), concat=channels, kinds={field: "picture"})

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Pictures or tensors to "b 3 h w" in [-1, 1]; ValueError says what is expected."""
        small = batch(raw, self.field)
        height, width = small.shape[2:]
        if self.fold > 1 and (height % self.fold or width % self.fold):
            raise ValueError(
                f"{self.field}: {height}x{width} pictures; each side must be a multiple of {self.fold}"
            )
        return {self.field: small}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """concat "b 3 k^2 h w", with `noise` one channel more."""
        small = prepared[self.field]
        if self.noise == 0:
            return Condition(concat=self._resized(small))
        level = torch.zeros(len(small), 1, 1, 1, device=small.device)
        if generator is not None:
            level = self.noise * torch.rand(level.shape, generator=generator, device=small.device)
            small = small + level * torch.randn(small.shape, generator=generator, device=small.device)
        channels = self._resized(small)
        level_map = level.expand(-1, 1, *channels.shape[2:])
        return Condition(concat=torch.cat([channels, level_map], dim=1))

    def null(self, like: Condition) -> Condition:
        """Zeros."""
        return like.map(torch.zeros_like)

    def _resized(self, small: Tensor) -> Tensor:
        """At the latent's size."""
        if self.fold > 1:
            return pixel_unshuffle(small, self.fold)
        return interpolate(small, scale_factor=float(self.enlarge)) if self.enlarge > 1 else small
