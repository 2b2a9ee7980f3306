"""From requests to pictures: conditions, guidance, sampler, decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch

from ldmkit.engine import conditions as joining
from ldmkit.engine.components import build
from ldmkit.engine.parts import Parts
from ldmkit.errors import UserError
from ldmkit.interfaces import ConditionedEstimate, EstimateFunction, Guidance, Sampler
from ldmkit.pictures import to_pictures
from ldmkit.recipe import Component, Sampling, resolve_component
from ldmkit.types import Conditions, Estimate, Latent, Level, Levels, NoiseSource, Request

CAPTION = "caption"
"""The batch field that prompts fill."""


@dataclass(frozen=True)
class Plan:
    """How pictures are to be made: everything but the conditions and the noise."""

    sampler: Sampler
    levels: Levels
    guidance: tuple[Guidance, ...]
    size: tuple[int, int]


def plan(
    system: Parts,
    *,
    sampler: str | Mapping[str, Any] | None = None,
    steps: int | None = None,
    guidance: Sequence[Mapping[str, Any]] | None = None,
    size: tuple[int, int] | None = None,
) -> Plan:
    """The recipe's plan with some of it replaced. `size` is the picture's (height, width).

    Raises UserError for names and parameters that do not exist and for a size the latent cannot have.
    """
    slot = _sampling(system, sampler, steps)
    latent = latent_size(system, size)
    spacing = build(system.registry, "spacing", slot.spacing)
    try:
        levels = spacing(system.schedule, slot.steps, latent)
    except ValueError as error:
        raise UserError(f"sampler.spacing ({slot.spacing.name}): {error}") from error
    guides = system.recipe.guidance
    if guidance is not None:
        guides = tuple(
            resolve_component("guidance", Component.model_validate(g), system.registry) for g in guidance
        )
    return Plan(
        sampler=build(system.registry, "sampler", slot),
        levels=levels,
        guidance=tuple(
            build(system.registry, "guidance", guide, compression=system.compression) for guide in guides
        ),
        size=latent,
    )


def _sampling(system: Parts, sampler: str | Mapping[str, Any] | None, steps: int | None) -> Sampling:
    """The sampler asked for; a bare name keeps the recipe's spacing."""
    slot = system.recipe.sampler
    if isinstance(sampler, str) and sampler != slot.name:
        sampler = {"name": sampler, "spacing": slot.spacing, "steps": slot.steps}
    if isinstance(sampler, Mapping):
        slot = resolve_component("sampler", Sampling.model_validate(sampler), system.registry)
    return slot if steps is None else slot.model_copy(update={"steps": steps})


def latent_size(system: Parts, size: tuple[int, int] | None) -> tuple[int, int]:
    """The latent's (h, w) for a picture size, by default the recipe's or its data's."""
    size = size or system.recipe.sample.size or data_size(system)
    if size is None:
        raise UserError("no picture size: set sample.size to [height, width]")
    factor = system.compression.latent.factor
    if any(s % factor or s < factor for s in size):
        raise UserError(f"size {size[0]}x{size[1]}: each side must be a multiple of {factor}")
    return size[0] // factor, size[1] // factor


def given_size(system: Parts, conditions: Conditions, noise: Latent | None) -> tuple[int, int] | None:
    """The picture's (height, width) that noise or a condition's map asks for; None where neither is there."""
    maps = [c.concat for c in conditions.values() if c.concat is not None]
    shaped = maps[0] if noise is None and maps else noise
    factor = system.compression.latent.factor
    return None if shaped is None else (shaped.shape[-2] * factor, shaped.shape[-1] * factor)


def data_size(system: Parts) -> tuple[int, int] | None:
    """The size of the recipe's pictures, where its data say one."""
    data = system.recipe.data
    size = _size_in(data.parameters) if data else None
    return None if size is None else (size, size)


def _size_in(parameters: Mapping[str, Any]) -> int | None:
    """The parameter `size` of a data set, or of the one that it wraps."""
    size = parameters.get("size")
    if isinstance(size, int):
        return size
    nested = (_size_in(value) for value in parameters.values() if isinstance(value, Mapping))
    return next((size for size in nested if size is not None), None)


def initial_noise(system: Parts, size: tuple[int, int], seeds: Sequence[int]) -> Latent:
    """x_T of unit variance, each picture from its own seed: independent of batch and order."""
    shape = (system.compression.latent.channels, *size)
    return torch.stack([_draw(seed, shape) for seed in seeds]).to(system.device)


def step_noise(shape: Sequence[int], seeds: Sequence[int], device: torch.device) -> NoiseSource:
    """noise(i) for stochastic samplers: each picture's own generator, keyed by (seed, i)."""

    def noise(i: int) -> Latent:
        keys = [hashlib.sha256(f"{seed}:{i}".encode()).digest() for seed in seeds]
        draws = [_draw(int.from_bytes(key[:7], "big"), shape) for key in keys]
        return torch.stack(draws).to(device)

    return noise


def _draw(seed: int, shape: Sequence[int]) -> torch.Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def network_estimate(system: Parts) -> ConditionedEstimate:
    """The bare network as an estimate: all condition sets in one batch, bound once for all steps."""
    bound: dict[tuple[int, ...], tuple[Any, Callable[..., Latent]]] = {}

    def network(wanted: Sequence[Conditions]) -> Callable[..., Latent]:
        key = tuple(id(c) for c in wanted)
        if key not in bound:
            merged = joining.concatenate([joining.merge(c) for c in wanted])
            bound[key] = (list(wanted), system.network.bind(merged))  # held, so that ids stay theirs
        return bound[key][1]

    def estimate(z: Latent, level: Level, wanted: Sequence[Conditions]) -> Sequence[Estimate]:
        n = len(wanted)
        batch = z.repeat(n, 1, 1, 1) if n > 1 else z
        time = level.time.to(z).expand(len(batch))
        raw = network(wanted)(system.objective.scale_input(batch, level), time)
        return _split(system.objective.estimate(raw, batch, level), n)

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


def guided(system: Parts, guidance: Sequence[Guidance], request: Request) -> EstimateFunction:
    """What the sampler calls: the network inside, the recipe's guidance around it, the first innermost."""
    inner = network_estimate(system)
    for guide in guidance:
        inner = guide.bind(inner, request)
    return lambda z, level: inner(z, level, [request.conditions])[0]


@torch.no_grad()
def sample_latent(
    system: Parts,
    plan: Plan,
    conditions: Conditions,
    *,
    noise: Latent | None = None,
    seeds: Sequence[int] | None = None,
    null: Conditions | None = None,
    raw: Mapping[str, Any] | None = None,
) -> Latent:
    """A latent a picture, following `plan`; see `System.sample_latent`."""
    count = len(noise) if noise is not None else joining.count_of(conditions.values())
    seeds = list(range(count or 1)) if seeds is None else seeds
    noise = initial_noise(system, plan.size, seeds) if noise is None else noise.to(system.device)
    first = plan.levels[0]
    # The marginal's standard deviation for data of unit variance: 1 on every variance-preserving schedule.
    z = noise * float((first.alpha**2 + first.sigma**2).sqrt())
    request = Request(
        conditions, null or system.null(conditions), raw or {}, system.compression.decode, seeds
    )
    estimate = guided(system, plan.guidance, request)
    source = step_noise(noise.shape[1:], seeds, system.device)
    return plan.sampler(estimate, z, plan.levels, source)


def raw_inputs(
    system: Parts, prompts: Sequence[str] | None, fields: Mapping[str, Sequence[Any]] | None
) -> dict[str, Sequence[Any]]:
    """Raw inputs by field, all of one length; UserError where prompts or fields do not fit."""
    raw = dict(fields or {})
    if prompts is not None:
        raw[CAPTION] = [prompts] if isinstance(prompts, str) else list(prompts)
    if not raw:
        raw = {k: list(v) for k, v in system.recipe.sample.fields.items()}
        if system.recipe.sample.prompts:
            raw[CAPTION] = list(system.recipe.sample.prompts)
    lengths = {name: len(values) for name, values in raw.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"fields differ in length: {lengths}")
    return raw


def seeds_for(
    system: Parts, raw: Mapping[str, Sequence[Any]], seed: int | None, seeds: Sequence[int] | None
) -> list[int]:
    """One seed a picture: those given, else seed, seed + 1, ..."""
    count = len(next(iter(raw.values()))) if raw else len(seeds or range(system.recipe.sample.count))
    first = system.recipe.sample.seed if seed is None else seed
    chosen = [first + i for i in range(count)] if seeds is None else list(seeds)
    if len(chosen) != count:
        raise UserError(f"{len(chosen)} seeds for {count} pictures")
    if any(not 0 <= s < 2**63 for s in chosen):
        raise UserError("a seed must be between 0 and 2^63 - 1")
    return chosen


@torch.no_grad()
def pictures(
    system: Parts,
    raw: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    *,
    negative: str | None = None,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> Iterator[list[PIL.Image.Image]]:
    """Pictures in batches, in the order of `raw`; `options` are those of `plan`."""
    together = batch or system.recipe.sample.batch
    negative = system.recipe.sample.negative if negative is None else negative
    for start in range(0, len(seeds), together):
        part = slice(start, start + together)
        inputs = {name: values[part] for name, values in raw.items()}
        conditions = system.condition(inputs)
        null = _negative(system, inputs, negative)
        made = plan(system, size=size or given_size(system, conditions, None), **options)
        latent = sample_latent(system, made, conditions, seeds=seeds[part], null=null, raw=inputs)
        yield to_pictures(system.compression.decode(latent))


def _negative(system: Parts, inputs: Mapping[str, Sequence[Any]], negative: str | None) -> Conditions | None:
    if negative is None:
        return None
    if CAPTION not in inputs:
        raise UserError("a negative prompt needs a recipe with captions")
    return system.condition({**inputs, CAPTION: [negative] * len(inputs[CAPTION])})
