"""Guidance that keeps the clean estimate within a range: for models of pixels, whose range is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from ldmkit.interfaces import ConditionedEstimate
from ldmkit.types import Conditions, Estimate, Latent, Level, Request
from ldmkit_diffusion.guidance import with_clean

Noise = Literal["follow", "keep"]


def _changed(
    estimate: ConditionedEstimate, change: Callable[[Latent], Latent], noise: Noise
) -> ConditionedEstimate:
    """The estimate with `change` made to every clean latent."""

    def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
        prediction = estimate(z, level, conditions)
        if noise == "keep":
            return [replace(each, clean=change(each.clean)) for each in prediction]
        return [with_clean(each, change(each.clean), level) for each in prediction]

    return guided


class Clip:
    """Clamps the clean estimate to [-range, range] at every step. Source: Ho et al. 2020, the published code.

    Put it last, so that it follows every other guidance.

    Args:
        range: the largest absolute value of a scaled latent; 1 for pixels.
        noise: "follow": the noise estimate becomes what z_t leaves beside the clamped one; "keep": it stays
            the network's own, as in the published DDIM code.
    """

    def __init__(self, *, range: PositiveFloat = 1.0, noise: Noise = "follow") -> None:
        self.range = range
        self.noise = noise

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The clamped estimate."""
        return _changed(estimate, lambda clean: clean.clamp(-self.range, self.range), self.noise)


class DynamicThreshold:
    """Clamps each picture's clean estimate to [-s, s] and divides it by s, a quantile of its absolute values.

    This keeps high guidance scales from saturating the colours of models that work on pixels. List it after
    every other guidance.
    Source: Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models", section 2.3.

    Args:
        ratio: the quantile of a picture's absolute values.
        largest: the quantile is taken as at least 1 and at most this.
        noise: "follow": the noise estimate becomes what z_t leaves beside the changed one; "keep": it stays
            the network's own.
    """

    def __init__(
        self,
        *,
        ratio: Annotated[float, Field(gt=0, le=1)] = 0.995,
        largest: Annotated[float, Field(ge=1)] = 1.0,
        noise: Noise = "follow",
    ) -> None:
        self.ratio = ratio
        self.largest = largest
        self.noise = noise

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The thresholded estimate."""
        return _changed(estimate, self._threshold, self.noise)

    def _threshold(self, clean: Latent) -> Latent:
        bound = clean.float().abs().flatten(1).quantile(self.ratio, dim=1).clamp(1, self.largest)
        bound = bound.to(clean).view(-1, 1, 1, 1)
        return clean.clamp(-bound, bound) / bound
