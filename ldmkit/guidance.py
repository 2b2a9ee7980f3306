"""Guidance by a gradient: the seam for anything that can score a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ldmkit.interfaces import ConditionedEstimate
from ldmkit.types import Conditions, Estimate, Image, Latent, Level, PerPicture, Request

Score = Callable[[Image], PerPicture]
"""Pictures in [-1, 1] to one figure each, larger for better; differentiable."""

NEARLY_NOISE = 1e-3
"""Below this alpha z says nothing of the picture, and nothing is there to be scored."""


def score_gradient(
    estimate: ConditionedEstimate, request: Request, score: Score, scale: float = 1.0
) -> ConditionedEstimate:
    """The estimate steered towards pictures of a higher score, for a `Guidance.bind` to return.

    The clean estimate is decoded and scored, and the gradient g with respect to z_t, through network and
    decoder, moves the noise by -sigma scale g (the clean latent by sigma^2 / alpha scale g, as z_t stays):
    what classifier guidance does with log p(y | z_t). Where alpha vanishes the estimate stays as it is.
    Raises ValueError where the request has no decoder.
    Source: Dhariwal and Nichol 2021, algorithm 2; Rombach et al. 2022, section 4.3.2 and appendix C.

    Args:
        estimate: what to guide.
        request: gives the decoder.
        score: one figure a picture, such as a log-probability.
        scale: factor of the gradient.
    """
    decode = request.decode
    if decode is None:
        raise ValueError("guidance by a score needs a request with a decoder")

    def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
        if float(level.alpha) < NEARLY_NOISE:
            return estimate(z, level, conditions)
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            said = estimate(leaf, level, conditions)
            totals = [score(decode(each.clean)).sum() for each in said]
        return [
            _steered(each, level, scale * torch.autograd.grad(total, leaf, retain_graph=True)[0])
            for each, total in zip(said, totals, strict=True)
        ]

    return guided


def _steered(said: Estimate, level: Level, gradient: Latent) -> Estimate:
    alpha, sigma = float(level.alpha), float(level.sigma)
    variance = said.variance_range
    return Estimate(
        said.clean.detach() + sigma**2 / alpha * gradient,
        said.noise.detach() - sigma * gradient,
        None if variance is None else variance.detach(),
    )
