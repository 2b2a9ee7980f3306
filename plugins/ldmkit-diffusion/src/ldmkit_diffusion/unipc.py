"""UniPC: a predictor and a corrector of any order that share one evaluation a step."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ldmkit.interfaces import EstimateFunction
from ldmkit.types import Latent, Levels, NoiseSource
from ldmkit_diffusion.multistep import log_ratio
from ldmkit_diffusion.samplers import step


def unipc(
    estimate: EstimateFunction,
    z: Latent,
    levels: Levels,
    noise: NoiseSource,
    *,
    order: Annotated[int, Field(ge=1, le=4)] = 2,
) -> Latent:
    """UniPC on the clean estimate with B2(h): each new evaluation also corrects the step that led to it.

    Deterministic; order `order` for the predictor and one more for the corrector (1 at the start, in the last
    step and where alpha or sigma vanishes); one evaluation a step.
    Source: Zhao et al. 2023, section 3, with the coefficient simplified to 1/2 where there is only one.

    Args:
        order: order of the predictor; the corrector raises it by one.
    """
    n, past, pending = len(levels) - 1, _Past(order), None
    for i in range(n):
        level, following = levels[i], levels[i + 1]
        prediction = estimate(z, level)
        corrected = z if pending is None else pending.corrected(prediction.clean)
        past.add(log_ratio(level), prediction.clean)
        kept = float(following.sigma / level.sigma)
        base = step(prediction, following) + kept * (corrected - z)
        pending = past.step(base, float(following.alpha), log_ratio(following), min(order, n - i))
        z = base if pending is None else pending.predicted()
    return z


class _Past:
    """The clean estimates that a step may use, latest first, each with its log(alpha / sigma)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.entries: list[tuple[float, Latent]] = []

    def add(self, position: float, clean: Latent) -> None:
        kept = [e for e in self.entries if math.isfinite(e[0]) and e[0] != position]
        self.entries = [(position, clean), *kept][: self.size]

    def step(self, base: Latent, alpha: float, target: float, order: int) -> _Step | None:
        """The step to `target`; None where only a first-order step is defined."""
        (here, clean), *older = self.entries
        h = target - here
        if not math.isfinite(h) or h == 0:
            return None
        older = older[: order - 1]
        ratios = [(position - here) / h for position, _ in older]
        changes = [(c - clean) / r for (_, c), r in zip(older, ratios, strict=True)]
        return _Step(base, alpha, h, clean, ratios, changes)


class _Step:
    """One step: the first-order `base` and what older estimates and the newest one add to it."""

    def __init__(
        self,
        base: Latent,
        alpha: float,
        h: float,
        clean: Latent,
        ratios: list[float],
        changes: list[Latent],
    ) -> None:
        self.base, self.h, self.clean = base, h, clean
        self.ratios, self.changes = ratios, changes
        self.gain = -alpha * math.expm1(-h)

    def predicted(self) -> Latent:
        """The predictor UniP: from older estimates alone."""
        return self._add(self.changes, coefficients(self.ratios, self.h))

    def corrected(self, newest: Latent) -> Latent:
        """The corrector UniC: with the estimate at the predicted point."""
        return self._add([*self.changes, newest - self.clean], coefficients([*self.ratios, 1.0], self.h))

    def _add(self, changes: list[Latent], weights: list[float]) -> Latent:
        return sum((self.gain * w * c for w, c in zip(weights, changes, strict=True)), self.base)


def coefficients(ratios: list[float], h: float) -> list[float]:
    """The weights a of Zhao et al. 2023, theorem 3.1 (data prediction, B2): R a = b, R[j, m] = r_m^j.

    One ratio alone takes 1/2.
    """
    if len(ratios) < 2:
        return [0.5] * len(ratios)
    powers = torch.arange(len(ratios), dtype=torch.float64)
    r: Tensor = torch.tensor(ratios, dtype=torch.float64)
    solution: list[float] = torch.linalg.solve(r ** powers[:, None], _b(len(ratios), h)).tolist()
    return solution


def _b(order: int, h: float) -> Tensor:
    """b_j = j! phi_{j+1}(-h) (-h) / B(h), B2(h) = exp(-h) - 1; phi by its recursion."""
    phi, entries = math.expm1(-h) / -h, []
    for j in range(1, order + 1):
        phi = (phi - 1 / math.factorial(j)) / -h
        entries.append(math.factorial(j) * phi * -h / math.expm1(-h))
    return torch.tensor(entries, dtype=torch.float64)
