"""The estimate that a sampler calls: the network with guidance around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ldmkit.engine import conditions as joining
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan, named_guide
from ldmkit.engine.sizes import misfit
from ldmkit.interfaces import ConditionedEstimate, EstimateFunction
from ldmkit.recipe import SamplerSlot
from ldmkit.types import Conditions, Estimate, Latent, Level, Levels, Request

Watch = Callable[[float, Latent], None]
"""Called at each evaluation of the network with the share of a batch's steps that is done."""


def guided(system: Parts, plan: Plan, request: Request) -> EstimateFunction:
    """The network with the plan's guidance around it, the first component innermost."""
    inner = network_estimate(system, plan.slot)
    for name, guide in plan.guidance:
        with named_guide(name):
            inner = guide.bind(inner, request)
    return lambda z, level: inner(z, level, [request.conditions])[0]


def network_estimate(system: Parts, slot: SamplerSlot) -> ConditionedEstimate:
    """The bare network as an estimate: all condition sets in one batch, bound once for all steps.

    Without a denoiser a latent is its own clean estimate, which guidance may move.
    """
    if system.denoiser is None:
        return lambda z, level, wanted: [Estimate(z, torch.zeros_like(z))] * len(wanted)
    bound: dict[tuple[int, ...], tuple[Any, Callable[..., Latent]]] = {}

    def network(requested: Sequence[Conditions]) -> Callable[..., Latent]:
        key = tuple(id(c) for c in requested)
        if key not in bound:
            merged = joining.concatenate([joining.merge(c) for c in requested])
            running = system.running.bind(system.network, merged, slot.steps, slot.reuse)
            bound[key] = (list(requested), running)  # held, so that ids stay theirs
        return bound[key][1]

    def estimate(z: Latent, level: Level, requested: Sequence[Conditions]) -> Sequence[Estimate]:
        n = len(requested)
        batch = z.repeat(n, 1, 1, 1) if n > 1 else z
        time = level.time.to(z).expand(len(batch))
        # The network may compute in half precision; what the steps add up stays in z's type.
        scaled = system.like_weights(system.objective.scale_input(batch, level))
        try:
            raw = network(requested)(scaled, time)
        except ValueError as error:
            raise misfit(system, z, error, requested[0]) from error
        return _split(system.objective.estimate(raw.to(batch.dtype), batch, level), n)

    return estimate


def _split(estimate: Estimate, n: int) -> list[Estimate]:
    if n == 1:
        return [estimate]
    variance = estimate.variance_range
    parts = (
        estimate.clean.chunk(n),
        estimate.noise.chunk(n),
        [None] * n if variance is None else variance.chunk(n),
    )
    return [Estimate(*part) for part in zip(*parts, strict=True)]


def watched(estimate: EstimateFunction, levels: Levels, watch: Watch | None) -> EstimateFunction:
    """The estimate; after each call `watch` gets the share of levels done and the present clean latents."""
    if watch is None:
        return estimate

    def telling(z: Latent, level: Level) -> Estimate:
        value = estimate(z, level)
        watch((int((levels.time - level.time).abs().argmin()) + 1) / len(levels), value.clean)
        return value

    return telling
