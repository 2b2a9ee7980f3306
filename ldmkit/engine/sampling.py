"""From inputs to pictures: conditions, guidance, sampler, decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import PIL.Image
import torch

from ldmkit.engine import conditions as joining
from ldmkit.engine.batching import even_parts, overlapped
from ldmkit.engine.components import build
from ldmkit.engine.parts import Parts, must_be_given
from ldmkit.engine.requests import Inputs, prompt_field
from ldmkit.errors import UserError
from ldmkit.interfaces import ConditionedEstimate, EstimateFunction, Guidance, Sampler, Spacing
from ldmkit.pictures import fitted, to_pictures
from ldmkit.recipe import Component, Sampling, resolve_component
from ldmkit.types import Conditions, Estimate, Image, Latent, Level, Levels, NoiseSource, Request

Watch = Callable[[float, Latent], None]
"""Called at each evaluation of the network with the share of a batch's steps that is done."""


@dataclass(frozen=True)
class Plan:
    """How pictures are sampled: everything but the inputs and their size. Guidance comes with its name."""

    sampler: Sampler
    spacing: Spacing
    slot: Sampling
    guidance: tuple[tuple[str, Guidance], ...]

    def levels(self, system: Parts, latent: tuple[int, int]) -> Levels:
        """The noise levels for a latent of (h, w); UserError for a spacing that does not fit."""
        try:
            return self.spacing(system.schedule, self.slot.steps, latent)
        except ValueError as error:
            raise UserError(f"sampler.spacing ({self.slot.spacing.name}): {error}") from error

    @property
    def fields(self) -> tuple[str, ...]:
        """The raw inputs that guidance reads."""
        return tuple(f for _, guide in self.guidance for f in getattr(guide, "fields", ()))


def plan(
    system: Parts,
    *,
    sampler: str | Mapping[str, Any] | None = None,
    steps: int | None = None,
    guidance: float | Sequence[Mapping[str, Any]] | None = None,
) -> Plan:
    """The recipe's plan with some of it replaced.

    guidance: components in the place of the recipe's, or a number for the `scale` of the one that has any.
    Raises UserError for names and parameters that do not exist.
    """
    slot = _sampling(system, sampler, steps)
    guides = _guides(system, guidance)
    return Plan(
        build(system.registry, "sampler", slot),
        build(system.registry, "spacing", slot.spacing),
        slot,
        tuple(
            (g.name, build(system.registry, "guidance", g, compression=system.compression)) for g in guides
        ),
    )


def _guides(system: Parts, guidance: float | Sequence[Mapping[str, Any]] | None) -> Sequence[Component]:
    own = system.recipe.guidance
    if guidance is None:
        return own
    if not isinstance(guidance, int | float):
        slots = [Component.model_validate(g) for g in guidance]
        return [resolve_component("guidance", slot, system.registry) for slot in slots]
    return scaled(system, float(guidance))


def scaled(system: Parts, scale: float) -> list[Component]:
    """The recipe's guidance with another `scale`; UserError unless exactly one component has any."""
    own = system.recipe.guidance
    changed = [guide for guide in own if "scale" in guide.parameters]
    if len(changed) != 1:
        raise UserError(
            f"guidance {scale:g}: {len(changed)} of the recipe's guidance components have a scale; "
            "set `guidance` to a list of components"
        )
    slot = changed[0].model_copy(update={"parameters": {**changed[0].parameters, "scale": scale}})
    return [resolve_component("guidance", slot, system.registry) if g is changed[0] else g for g in own]


def _sampling(system: Parts, sampler: str | Mapping[str, Any] | None, steps: int | None) -> Sampling:
    """The sampler asked for; a bare name keeps the recipe's spacing."""
    slot = system.recipe.sampler
    if isinstance(sampler, str) and sampler != slot.name:
        sampler = {"name": sampler, "spacing": slot.spacing, "steps": slot.steps, "reuse": slot.reuse}
    if isinstance(sampler, Mapping):
        slot = resolve_component("sampler", Sampling.model_validate(sampler), system.registry)
    return slot if steps is None else slot.model_copy(update={"steps": steps})


def latent_size(system: Parts, size: tuple[int, int] | None) -> tuple[int, int]:
    """The latent's (h, w) for a picture size, by default the recipe's or its data's."""
    size = size or _known_size(system)
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


def _known_size(system: Parts) -> tuple[int, int] | None:
    """The pictures' (height, width) that the recipe or its data give."""
    return system.recipe.sample.size or data_size(system)


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


def network_estimate(system: Parts, slot: Sampling) -> ConditionedEstimate:
    """The bare network as an estimate: all condition sets in one batch, bound once for all steps.

    Without a denoiser a latent is its own clean estimate, which guidance may move.
    """
    if system.denoiser is None:
        return lambda z, level, wanted: [Estimate(z, torch.zeros_like(z))] * len(wanted)
    bound: dict[tuple[int, ...], tuple[Any, Callable[..., Latent]]] = {}

    def network(wanted: Sequence[Conditions]) -> Callable[..., Latent]:
        key = tuple(id(c) for c in wanted)
        if key not in bound:
            merged = joining.concatenate([joining.merge(c) for c in wanted])
            running = system.running.bind(system.network, merged, slot.steps, slot.reuse)
            bound[key] = (list(wanted), running)  # held, so that ids stay theirs
        return bound[key][1]

    def estimate(z: Latent, level: Level, wanted: Sequence[Conditions]) -> Sequence[Estimate]:
        n = len(wanted)
        batch = z.repeat(n, 1, 1, 1) if n > 1 else z
        time = level.time.to(z).expand(len(batch))
        # The network may compute in half precision; what the steps add up stays in z's type.
        raw = network(wanted)(system.like_weights(system.objective.scale_input(batch, level)), time)
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


def guided(system: Parts, plan: Plan, request: Request) -> EstimateFunction:
    """What the sampler calls: the network inside, the plan's guidance around it, the first innermost."""
    inner = network_estimate(system, plan.slot)
    for name, guide in plan.guidance:
        with _named(name):
            inner = guide.bind(inner, request)
    return lambda z, level: inner(z, level, [request.conditions])[0]


@torch.no_grad()
def sample_latent(
    system: Parts,
    plan: Plan,
    request: Request,
    *,
    noise: Latent | None = None,
    init: Latent | None = None,
    strength: float = 1.0,
    watch: Watch | None = None,
) -> Latent:
    """A latent for each seed of the request.

    noise: x_T, unit variance; drawn from the seeds where not given. init: latents to start from, noised to
    the level that leaves a share `strength` of the steps (img2img; Meng et al. 2022, "SDEdit"). A recipe
    without a denoiser starts from them as they are; UserError where there are none.
    """
    latent = latent_size(system, request.size)
    factor = system.compression.latent.factor
    request = request.replace(size=(latent[0] * factor, latent[1] * factor))
    noise = initial_noise(system, latent, request.seeds) if noise is None else noise.to(system.device)
    levels = plan.levels(system, latent)
    if system.denoiser is None:
        z = _start(system, init)
    elif init is None:
        first = levels[0]
        # The marginal's standard deviation for data of unit variance: 1 on variance-preserving schedules.
        z = noise * float((first.alpha**2 + first.sigma**2).sqrt())
    else:
        levels = last_levels(levels, strength)
        z = levels[0].add_noise(init.to(noise), noise)
    source = step_noise(noise.shape[1:], request.seeds, system.device)
    estimate = _watched(guided(system, plan, request), levels, watch)
    return plan.sampler(estimate, z, levels, source)


def _start(system: Parts, init: Latent | None) -> Latent:
    if init is None:
        raise UserError(f"recipe '{system.recipe.name}' has no denoiser: give a picture to start from (init)")
    return init


def last_levels(levels: Levels, strength: float) -> Levels:
    """The levels of the last steps, a share `strength` of them and at least one."""
    steps = len(levels) - 1
    return levels[steps - max(1, round(strength * steps)) :]


def _watched(estimate: EstimateFunction, levels: Levels, watch: Watch | None) -> EstimateFunction:
    """The estimate, telling `watch` which share of the levels is done, and the clean latents of now."""
    if watch is None:
        return estimate

    def watched(z: Latent, level: Level) -> Estimate:
        value = estimate(z, level)
        watch((int((levels.time - level.time).abs().argmin()) + 1) / len(levels), value.clean)
        return value

    return watched


def pictures(
    system: Parts,
    inputs: Inputs,
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    sampler: str | Mapping[str, Any] | None = None,
    steps: int | None = None,
    guidance: float | Sequence[Mapping[str, Any]] | None = None,
    watch: Watch | None = None,
) -> Iterator[list[PIL.Image.Image]]:
    """Pictures in batches of about equal size, at most `batch`, in the order of `inputs`; size is their
    (height, width). Else as `plan`.

    One batch is decoded in a thread of its own while the next is sampled.
    """
    chosen = plan(system, sampler=sampler, steps=steps, guidance=guidance)
    check_fields(system, chosen, inputs.raw)
    parts = even_parts(len(inputs.seeds), batch or system.recipe.sample.batch)
    latents = (_sampled(system, chosen, inputs.rows(rows), size, watch) for rows in parts)
    yield from overlapped(latents, lambda pair: _decoded(system, chosen, *pair))


@torch.no_grad()
def _decoded(system: Parts, plan: Plan, latent: Latent, request: Request) -> list[PIL.Image.Image]:
    """The pictures of one batch."""
    return to_pictures(finished(plan, system.compression.decode(system.like_weights(latent)), request))


@torch.no_grad()
def _sampled(
    system: Parts, plan: Plan, inputs: Inputs, size: tuple[int, int] | None, watch: Watch | None
) -> tuple[Latent, Request]:
    """The latents of one batch, and what they were asked for by."""
    request = request_for(system, inputs, size)
    init = None
    if len(inputs.init):
        start = _fitted(inputs.init, request.size or _known_size(system)).to(system.device)
        request = request.replace(size=(start.shape[2], start.shape[3]))
        latent_size(system, request.size)
        init = system.compression.encode(system.like_weights(start))
    latent = sample_latent(system, plan, request, init=init, strength=inputs.strength, watch=watch)
    return latent, request


def _fitted(init: Any, size: tuple[int, int] | None) -> Image:
    try:
        return fitted(init, "init", size)
    except ValueError as error:
        raise UserError(str(error)) from error


def request_for(system: Parts, inputs: Inputs, size: tuple[int, int] | None = None) -> Request:
    """The request for a batch, conditions encoded; `size` is by default that of a condition's map."""
    count, shape = len(inputs.seeds), size or _known_size(system)
    read = {f for _, c in system.named_conditioners() for f in c.spec.fields}
    raw = {field: values for field, values in inputs.raw.items() if field in read}
    conditions = system.condition(raw, count, shape)
    null = system.null(conditions)
    _check_negative(system, inputs, raw)
    if inputs.negative is not None:
        null = system.condition({**raw, prompt_field(system): [inputs.negative] * count}, count, shape)
    size = size or given_size(system, conditions, None)
    return Request(conditions, null, inputs.raw, system.compression.decode, inputs.seeds, size)


def _check_negative(system: Parts, inputs: Inputs, raw: Mapping[str, Any]) -> None:
    if inputs.negative is not None and prompt_field(system) not in raw:
        raise UserError("a negative prompt needs a recipe with captions")


def fields_read(system: Parts, plan: Plan) -> list[str]:
    """The raw inputs that conditioners and guidance read."""
    read = [f for _, c in system.named_conditioners() for f in c.spec.fields]
    return list(dict.fromkeys([*read, *plan.fields]))


def fields_needed(system: Parts, plan: Plan) -> list[str]:
    """The raw inputs without which there are no conditions or no guidance."""
    read = [f for _, c in system.named_conditioners() if must_be_given(c) for f in c.spec.fields]
    return list(dict.fromkeys([*read, *plan.fields]))


def check_inputs(system: Parts, plan: Plan, inputs: Inputs) -> None:
    """UserError for inputs that cannot be read; uses no weights, so that it is known before a training."""
    check_fields(system, plan, inputs.raw)
    _check_negative(system, inputs, inputs.raw)
    if system.recipe.sample.size is not None:
        latent_size(system, system.recipe.sample.size)
    together = system.recipe.sample.batch
    for start in range(0, len(inputs.seeds), together):
        part = inputs.rows(range(len(inputs.seeds))[start : start + together])
        for name, conditioner in system.named_conditioners():
            if set(conditioner.spec.fields) <= set(part.raw):
                system.prepared(name, conditioner, part.raw)


def check_fields(system: Parts, plan: Plan, raw: Mapping[str, Any]) -> None:
    """UserError for an input that neither a conditioner nor guidance reads, or that guidance lacks."""
    read = fields_read(system, plan)
    if unknown := sorted(set(raw) - set(read)):
        known = ", ".join(read) or "none"
        raise UserError(
            f"recipe '{system.recipe.name}' does not read the condition field(s) {', '.join(unknown)}; "
            f"it reads: {known}"
        )
    for name, guide in plan.guidance:
        if missing := sorted(set(getattr(guide, "fields", ())) - set(raw)):
            raise UserError(f"guidance ({name}): needs the input(s) {', '.join(missing)}")


def finished(plan: Plan, image: Image, request: Request) -> Image:
    """The decoded pictures, as those guidance components leave them that have a last word in pixels."""
    for name, guide in plan.guidance:
        finish = getattr(guide, "finish", None)
        if finish is not None:
            with _named(name):
                image = finish(image, request)
    return image


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What a guidance component says in plain words becomes a UserError that names it."""
    try:
        yield
    except (ValueError, UserError) as error:
        raise UserError(f"guidance ({name}): {error}") from error
