"""Guidance by the gradient of a score of the decoded picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ldmkit.interfaces import ConditionedEstimate
from ldmkit.types import Conditions, Estimate, Image, Latent, Level, PerPicture, Request

Score = Callable[[Image], PerPicture]
"""Pictures in [-1, 1] to one figure each, larger for better; differentiable."""

NEARLY_NOISE = 1e-3
"""No guidance below this alpha: z is almost pure noise."""


def score_gradient(
    estimate: ConditionedEstimate,
    request: Request,
    score: Score,
    scale: float = 1.0,
    *,
    through_network: bool = True,
) -> ConditionedEstimate:
    """The estimate steered towards pictures of a higher score, for a `Guidance.bind` to return.

    The clean estimate is decoded and scored, and the gradient g with respect to z_t, through network and
    decoder, moves the noise by -sigma scale g (the clean latent by sigma^2 / alpha scale g, as z_t stays):
    what classifier guidance does with log p(y | z_t). Where alpha vanishes the estimate stays as it is.
    Without `through_network` the gradient stops at the clean estimate, whose Jacobian is taken to be
    alpha / (alpha^2 + sigma^2): that of the posterior mean where the data are Gaussian of unit variance.
    Raises ValueError where the request has no decoder.
    Source: Dhariwal and Nichol 2021, algorithm 2; Rombach et al. 2022, section 4.3.2 and appendix C.

    Args:
        estimate: what to guide.
        request: gives the decoder.
        score: one figure a picture, such as a log-probability.
        scale: factor of the gradient.
        through_network: differentiate the network too; exact, at two to three times the cost and memory.
    """
    decode = request.decode
    if decode is None:
        raise ValueError("guidance by a score needs a request with a decoder")

    def exact(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            estimates = estimate(leaf, level, conditions)
            totals = [score(decode(each.clean)).sum() for each in estimates]
        gradients = [torch.autograd.grad(total, leaf, retain_graph=True)[0] for total in totals]
        return [_steered(e, level, scale * g) for e, g in zip(estimates, gradients, strict=True)]

    def short(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
        alpha, sigma = float(level.alpha), float(level.sigma)
        jacobian = alpha / (alpha**2 + sigma**2)
        estimates = estimate(z, level, conditions)
        gradients = [_gradient(lambda clean: score(decode(clean)), e.clean) for e in estimates]
        return [_steered(e, level, scale * jacobian * g) for e, g in zip(estimates, gradients, strict=True)]

    def guided(z: Latent, level: Level, conditions: Sequence[Conditions]) -> Sequence[Estimate]:
        if float(level.alpha) < NEARLY_NOISE:
            return estimate(z, level, conditions)
        return (exact if through_network else short)(z, level, conditions)

    return guided


def _gradient(score: Callable[[Latent], PerPicture], at: Latent) -> Latent:
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        return torch.autograd.grad(score(leaf).sum(), leaf)[0]


def _steered(estimate: Estimate, level: Level, gradient: Latent) -> Estimate:
    alpha, sigma = float(level.alpha), float(level.sigma)
    variance = estimate.variance_range
    return Estimate(
        estimate.clean.detach() + sigma**2 / alpha * gradient,
        estimate.noise.detach() - sigma * gradient,
        None if variance is None else variance.detach(),
    )
