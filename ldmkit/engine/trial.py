"""A few steps of a system's diffusion process with numbers, but without its networks.

What schedule, objective, spacing and sampler hand to each other is looked at before any work: the types, the
shapes, whether numbers are finite and levels fall. A component that breaks its promise is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ldmkit.engine import sampling
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan
from ldmkit.engine.promises import check_estimate, check_latent, check_level, check_numbers, same
from ldmkit.engine.rehearsal import COUNT, announced, named
from ldmkit.interfaces import Guidance, NoiseSchedule
from ldmkit.types import Estimate, Latent, Level, Levels, Request

STEPS = 8
"""Steps that the sampler is tried for; of a recipe with more, the last ones."""
WRONG = "does not do what ldmkit.interfaces says"
SIDE = 32
"""Height and width of the latents, at most."""
TIMES = 5
"""Times t at which the schedule is evaluated."""


@torch.no_grad()
def try_process(system: Parts, plan: Plan, size: tuple[int, int]) -> None:
    """UserError that names the component that does not keep to its Protocol.

    plan: sampler and spacing. size: of a latent, (h, w). Modules of the system may be on the meta device:
    none is called.
    """
    recipe, small = system.recipe, (min(size[0], SIDE), min(size[1], SIDE))
    with torch.device("cpu"):
        with named("schedule", recipe.schedule, WRONG):
            _schedule(system.schedule, size)
        with named("objective", recipe.objective, WRONG):
            estimate = _objective(system, small)
        with named("spacing", plan.slot.spacing, WRONG):
            levels = plan.levels(system, size)
        with named("sampler", plan.slot, WRONG):
            like = torch.zeros(COUNT, system.compression.latent.channels, *small)
            _sampler(plan, estimate, levels[-STEPS - 1 :], like)
        for slot, (_, guide) in zip(recipe.guidance, plan.guidance, strict=False):
            if not getattr(guide, "fields", ()):  # else it reads what only a request has
                with named("guidance", slot, WRONG):
                    _guidance(system, guide, estimate, levels, like)


def _schedule(schedule: NoiseSchedule, size: tuple[int, int]) -> None:
    times = torch.linspace(0, 1, TIMES, dtype=torch.float64)
    level = check_level("level", schedule.level(times, size), TIMES)
    if not (level.alpha[1:] * level.sigma[:-1] < level.alpha[:-1] * level.sigma[1:]).all():
        raise ValueError("level: the noise does not grow with t, from 0, the cleanest, to 1")
    first, again = (schedule.draw(TIMES, torch.Generator().manual_seed(0), size) for _ in range(2))
    check_numbers("draw", first, (TIMES,))
    if not ((first >= 0) & (first <= 1)).all():
        raise ValueError("draw: times lie beyond [0, 1]")
    if not torch.equal(first, again):
        raise ValueError("draw: the same generator gives other times, so that no training could be repeated")
    check_numbers("invert", schedule.invert(level[1:-1].log_snr, size), (TIMES - 2,))


def _objective(system: Parts, size: tuple[int, int]) -> Callable[[Latent, Level], Estimate]:
    """Looks at the objective; the estimate that a network would give whose output is small noise."""
    objective = system.objective
    channels = system.compression.latent.channels
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(COUNT, channels, *size, generator=generator) for _ in range(2))
    raw = 0.1 * torch.randn(COUNT, objective.out_channels(channels), *size, generator=generator)
    level = system.schedule.level(torch.full((COUNT,), 0.5, dtype=torch.float64), size)
    z = level.add_noise(clean, noise)
    same("scale_input", objective.scale_input(z, level), z)
    with torch.enable_grad():
        loss = objective.loss(raw.requires_grad_(), clean, noise, level)
    check_numbers("loss", loss, (COUNT,))
    if not loss.requires_grad:
        raise ValueError("loss: does not depend on the network's output, so that nothing could learn from it")
    check_estimate(objective.estimate(raw.detach(), z, level), z)
    return lambda z, level: objective.estimate(raw.detach(), z, level)


def _sampler(plan: Plan, estimate: Callable[[Latent, Level], Estimate], levels: Levels, like: Latent) -> None:
    noise = torch.randn(like.shape, generator=torch.Generator().manual_seed(1))
    source = sampling.step_noise(noise.shape[1:], range(COUNT), torch.device("cpu"))
    z = levels[0].add_noise(torch.zeros_like(noise), noise)
    first, again = (plan.sampler(estimate, z.clone(), levels, source) for _ in range(2))
    check_latent(first, noise)
    check_latent(again, noise)
    if not torch.equal(first, again):
        raise ValueError("the same noise gives another latent, so that no seed would give its picture again")


def _guidance(
    system: Parts,
    guide: Guidance,
    estimate: Callable[[Latent, Level], Estimate],
    levels: Levels,
    like: Latent,
) -> None:
    size, factor = like.shape[2:], system.compression.latent.factor
    conditions = {n: announced(c, like) for n, c in system.named_conditioners()}
    picture_size = (size[0] * factor, size[1] * factor)
    request = Request(
        conditions, conditions, decode=system.compression.decode, seeds=range(COUNT), size=picture_size
    )
    guided = guide.bind(lambda z, level, wanted: [estimate(z, level)] * len(wanted), request)
    for level in (levels[0], levels[len(levels) // 2]):
        estimates = guided(level.add_noise(like, torch.ones_like(like)), level, [conditions])
        if not isinstance(estimates, Sequence) or len(estimates) != 1:
            raise ValueError(
                f"the guided estimate gives {type(estimates).__name__}, a list of one is expected"
            )
        check_estimate(estimates[0], like)
