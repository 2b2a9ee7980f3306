"""From inputs to pictures: conditions, sampler, decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import PIL.Image
import torch

from ldmkit.engine.batching import even_parts, overlapped
from ldmkit.engine.cautions import note_cautions
from ldmkit.engine.estimates import Watch, guided, watched
from ldmkit.engine.input_checks import check_asked, check_batches, check_negative, fitted_start
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan, named_guide, plan
from ldmkit.engine.promises import check_latent
from ldmkit.engine.requests import Inputs, whole_number
from ldmkit.engine.sampling_memory import check_room
from ldmkit.engine.sizes import check_maps, given_size, known_size, latent_size
from ldmkit.errors import UserError
from ldmkit.pictures import to_pictures
from ldmkit.types import Image, Latent, Levels, NoiseSource, Request


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
    meter: Callable[[float], None] | None = None,
) -> Iterator[list[PIL.Image.Image]]:
    """Pictures in batches of about equal size, at most `batch`, in the order of `inputs`; size is their
    (height, width). Else as `plan`. meter: called with the number of pictures done, fractions of a batch too.

    One batch is decoded in a thread of its own while the next is sampled.
    """
    chosen = plan(system, sampler=sampler, steps=steps, guidance=guidance)
    check_asked(system, chosen, inputs)
    together = system.recipe.sample.batch if batch is None else whole_number("batch", batch)
    parts = even_parts(len(inputs.seeds), together)
    check_batches(system, size, parts)
    known = size or known_size(system)
    latent = None if known is None else latent_size(system, known)
    note_cautions(system, chosen, latent, started=len(inputs.init) > 0)
    latents = (
        _sampled(system, chosen, inputs.rows(rows), size, _looked(watch, meter, rows)) for rows in parts
    )
    yield from overlapped(latents, lambda pair: _decoded(system, chosen, *pair))


@torch.no_grad()
def _sampled(
    system: Parts, plan: Plan, inputs: Inputs, size: tuple[int, int] | None, watch: Watch | None
) -> tuple[Latent, Request]:
    """The latents of one batch, with the request that they were sampled for."""
    request = request_for(system, inputs, size, guided=bool(plan.guidance))
    if request.size is not None and size is None:  # that of a condition's map
        check_room(system, request.size, len(inputs.seeds))
    init = None
    if len(inputs.init):
        start = fitted_start(inputs.init, request.size or known_size(system)).to(system.device)
        request = request.replace(size=(start.shape[2], start.shape[3]))
        check_batches(system, request.size, [range(len(start))])
        init = system.compression.encode(system.like_weights(start))
    latent = sample_latent(system, plan, request, init=init, strength=inputs.strength, watch=watch)
    return latent, request


def _looked(watch: Watch | None, meter: Callable[[float], None] | None, rows: range) -> Watch | None:
    """The callback of the sampler's evaluations for these rows."""
    if meter is None:
        return watch

    def both(share: float, clean: Latent) -> None:
        meter(rows.start + share * len(rows))
        if watch is not None:
            watch(share, clean)

    return both


@torch.no_grad()
def _decoded(system: Parts, plan: Plan, latent: Latent, request: Request) -> list[PIL.Image.Image]:
    """The pictures of one batch."""
    return to_pictures(finished(plan, system.painter.decode(system.like_weights(latent)), request))


def finished(plan: Plan, image: Image, request: Request) -> Image:
    """The decoded pictures after the `finish` of guidance components that have one."""
    for name, guide in plan.guidance:
        finish = getattr(guide, "finish", None)
        if finish is not None:
            with named_guide(name):
                image = finish(image, request)
    return image


def request_for(
    system: Parts, inputs: Inputs, size: tuple[int, int] | None = None, *, guided: bool = True
) -> Request:
    """The request for a batch, conditions encoded; `size` is by default that of a condition's map. Where no
    guidance reads the null conditions, the conditions stand in their place."""
    count, shape = len(inputs.seeds), size or known_size(system)
    read = {f for _, c in system.named_conditioners() for f in c.spec.fields}
    raw = {field: values for field, values in inputs.raw.items() if field in read}
    conditions = system.condition(raw, count, shape)
    check_maps(system, conditions, size)
    null = system.null(conditions) if guided else conditions
    check_negative(system, inputs, raw)
    if inputs.negative is not None:
        null = system.condition({**raw, system.prompt_field: [inputs.negative] * count}, count, shape)
    size = size or given_size(system, conditions, None)
    return Request(conditions, null, inputs.raw, system.painter.decode, inputs.seeds, size)


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
    levels, z = _started(system, plan.levels(system, latent), noise, init, strength)
    source = step_noise(noise.shape[1:], request.seeds, system.device)
    estimate = watched(guided(system, plan, request), levels, watch)
    return _checked(plan, plan.sampler(estimate, z, levels, source), z)


def _checked(plan: Plan, latent: Latent, z: Latent) -> Latent:
    """The sampler's latent; UserError where it is none, or not finite: its picture would be black."""
    try:
        check_latent(latent, z)
    except ValueError as error:
        raise UserError(
            f"sampler ({plan.slot.name}): {error}; where weights and sampler are right, the guidance is too "
            "strong or the precision too low"
        ) from error
    return latent


def _started(
    system: Parts, levels: Levels, noise: Latent, init: Latent | None, strength: float
) -> tuple[Levels, Latent]:
    """The remaining levels, and the latent at the first of them."""
    if system.denoiser is None:
        if init is None:
            raise UserError(
                f"recipe '{system.recipe.name}' has no denoiser: give a picture to start from (init)"
            )
        return levels, init
    if init is None:
        first = levels[0]
        # The marginal's standard deviation for data of unit variance: 1 on variance-preserving schedules.
        return levels, noise * float((first.alpha**2 + first.sigma**2).sqrt())
    left = last_levels(levels, strength)
    return left, left[0].add_noise(init.to(noise), noise)


def last_levels(levels: Levels, strength: float) -> Levels:
    """The levels of the last steps, a share `strength` of them and at least one."""
    steps = len(levels) - 1
    return levels[steps - max(1, round(strength * steps)) :]


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
