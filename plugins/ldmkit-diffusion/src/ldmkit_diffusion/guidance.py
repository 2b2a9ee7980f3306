"""Guidance: classifier-free, and by a known region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from ldmkit.interfaces import ConditionedEstimate
from ldmkit.types import Conditions, Estimate, Latent, Level, Request


def with_clean(said: Estimate, clean: Latent, level: Level) -> Estimate:
    """The estimate with another clean latent, and the noise that goes with it and the same z_t."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    if sigma == 0:
        return Estimate(clean, said.noise, said.variance_range)
    return Estimate(clean, said.noise + alpha / sigma * (said.clean - clean), said.variance_range)


class ClassifierFree:
    """Classifier-free guidance: e_null + scale (e_wanted - e_null), both from one batched pass.

    Null is each conditioner's null, or the negative prompt. Outside `interval` the network is asked for the
    wanted conditions alone, which costs half. Source: Ho and Salimans 2022, equation 6 (with scale = 1 + w).

    Args:
        scale: 1 is no guidance; larger follows the conditions more closely.
        rescale: 0 to 1: how far the guided clean latent is brought back to the standard deviation of the
            unguided one, which keeps high scales from overexposing (Lin et al. 2023, section 3.4; 0.7 there).
        interval: (low, high): guide only where low < sigma / alpha <= high, the sigma of Kynkaanniemi
            et al. 2024. None: everywhere.
    """

    def __init__(
        self,
        *,
        scale: Annotated[float, Field(ge=0)] = 4.0,
        rescale: Annotated[float, Field(ge=0, le=1)] = 0.0,
        interval: tuple[float, float] | None = None,
    ) -> None:
        self.scale = scale
        self.rescale = rescale
        self.interval = interval

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The guided estimate of each set of conditions that it is asked for."""

        def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
            if self.scale == 1 or not self._guides(level):
                return estimate(z, level, conditions)
            *wanted, null = estimate(z, level, [*conditions, request.null])
            return [self._away(w, null, level) for w in wanted]

        return guided

    def _guides(self, level: Level) -> bool:
        if self.interval is None:
            return True
        low, high = self.interval
        return bool(low * level.alpha < level.sigma) and bool(level.sigma <= high * level.alpha)

    def _away(self, wanted: Estimate, null: Estimate, level: Level) -> Estimate:
        clean = torch.lerp(null.clean, wanted.clean, self.scale)
        noise = torch.lerp(null.noise, wanted.noise, self.scale)
        guided = Estimate(clean, noise, wanted.variance_range)
        if self.rescale == 0:
            return guided
        dims = tuple(range(1, clean.ndim))
        ratio = wanted.clean.std(dims, keepdim=True) / clean.std(dims, keepdim=True)
        return with_clean(guided, clean * (1 + self.rescale * (ratio - 1)), level)
