"""Classifier-free guidance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Annotated

from pydantic import Field, NonNegativeFloat

from ldmkit.interfaces import ConditionedEstimate
from ldmkit.types import Conditions, Estimate, Latent, Level, Request


def with_clean(estimate: Estimate, clean: Latent, level: Level) -> Estimate:
    """The estimate with another clean latent, and with the noise that belongs to it at the same z_t."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    if sigma == 0:
        return Estimate(clean, estimate.noise, estimate.variance_range)
    return Estimate(clean, estimate.noise + alpha / sigma * (estimate.clean - clean), estimate.variance_range)


class ClassifierFree:
    """Classifier-free guidance: e_null + scale (e_wanted - e_null), all from one batched pass.

    Null is each conditioner's null, or the negative prompt. Outside `interval` the network is asked for the
    wanted conditions alone, which costs half. A condition with a scale of its own adds its own direction from
    null (and an entry to the batch).
    Source: Ho and Salimans 2022, equation 6 (with scale = 1 + w); Liu et al.
    2022, "Compositional Visual Generation with Composable Diffusion Models", equation 11.

    Args:
        scale: 1 is no guidance; larger follows the conditions more closely.
        rescale: 0 to 1: how far the guided clean latent is brought back to the standard deviation of the
            unguided one, which keeps high scales from overexposing (Lin et al. 2023, section 3.4; 0.7 there).
        interval: (low, high): guide only where low < sigma / alpha <= high, the sigma of Kynkaanniemi et al.
            2024. None: everywhere.
        scales: scales of single conditions, by the recipe's id; the others share `scale`.
    """

    def __init__(
        self,
        *,
        scale: NonNegativeFloat = 4.0,
        rescale: Annotated[float, Field(ge=0, le=1)] = 0.0,
        interval: tuple[NonNegativeFloat, NonNegativeFloat] | None = None,
        scales: dict[str, NonNegativeFloat] | None = None,
    ) -> None:
        if interval is not None and interval[0] >= interval[1]:
            raise ValueError(f"interval {list(interval)}: the first must be below the second")
        self.scale = scale
        self.rescale = rescale
        self.interval = interval
        self.scales = scales or {}
        self.reads_null = scale != 1 or bool(self.scales)

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The guided estimate of each set of conditions; ValueError for a scale without its condition."""
        if unknown := set(self.scales) - set(request.conditions):
            known = ", ".join(request.conditions) or "none"
            raise ValueError(f"scales names no condition {', '.join(sorted(unknown))}; there are: {known}")
        held: dict[int, tuple[Conditions, list[Conditions]]] = {}

        def parts(
            conditions: Conditions,
        ) -> list[Conditions]:  # the same objects at every step, to be bound once
            split = held.setdefault(id(conditions), (conditions, self._split(conditions, request.null)))
            return split[1]

        def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
            if not self._guides(level):
                return estimate(z, level, conditions)
            each = [parts(c) for c in conditions]
            *conditional, null = estimate(z, level, [*chain(*each), request.null])
            n = len(self.scales) + 1
            return [self._away(conditional[i : i + n], null, level) for i in range(0, len(conditional), n)]

        return guided

    def _guides(self, level: Level) -> bool:
        if self.scale == 1 and not self.scales:
            return False
        low, high = self.interval or (0.0, math.inf)
        ratio = float(level.sigma / level.alpha)
        return low < ratio <= high

    def _split(self, conditions: Conditions, null: Conditions) -> list[Conditions]:
        """The conditions that share `scale`, then each that has its own; the others are null."""
        if not self.scales:
            return [conditions]
        shared = {**conditions, **{name: null[name] for name in self.scales}}
        return [shared, *({**null, name: conditions[name]} for name in self.scales)]

    def _away(self, conditional: Sequence[Estimate], null: Estimate, level: Level) -> Estimate:
        first, scales = conditional[0], (self.scale, *self.scales.values())
        clean = _away_from(null.clean, [w.clean for w in conditional], scales)
        noise = _away_from(null.noise, [w.noise for w in conditional], scales)
        guided = Estimate(clean, noise, first.variance_range)
        if self.rescale == 0:
            return guided
        dims = tuple(range(1, clean.ndim))
        ratio = first.clean.std(dims, keepdim=True) / clean.std(dims, keepdim=True)
        return with_clean(guided, clean * (1 + self.rescale * (ratio - 1)), level)


def _away_from(null: Latent, conditional: Sequence[Latent], scales: Sequence[float]) -> Latent:
    return sum((s * (w - null) for w, s in zip(conditional, scales, strict=True)), null)
