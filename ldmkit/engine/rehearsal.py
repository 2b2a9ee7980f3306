"""A pass of two pictures through a system on the meta device, where tensors have shapes and take no memory.

Components whose shapes do not fit their neighbours are refused before any work, by name. One that needs the
numbers themselves cannot be rehearsed; it is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ldmkit.engine import conditions as joining
from ldmkit.engine.components import component_error
from ldmkit.engine.parts import Parts
from ldmkit.engine.promises import check_condition, check_posterior, check_type, same, shape_of
from ldmkit.engine.running import reusing
from ldmkit.errors import UserError
from ldmkit.host.contained import described, raised_by_it, text_of
from ldmkit.interfaces import Conditioner, Module
from ldmkit.recipe.components import Component
from ldmkit.types import Condition, FieldKind, Image, Latent

META = torch.device("meta")
MISFIT = "does not fit its neighbours"
META_DEVICE = re.compile(r"\bmeta\b", re.IGNORECASE)
"""What torch says where an operation needs numbers; a word that begins so, as metadata, says nothing."""
MADE_UP: Mapping[FieldKind, str | int] = {"text": "a", "label": 0}
"""Inputs that every conditioner can read which reads that kind."""
COUNT = 2
"""Pictures of the pass: norms refuse a single one whose map is a single position."""


def rehearse(system: Parts, size: tuple[int, int]) -> None:
    """UserError that names the component whose shapes do not fit: of the compression model and its latent,
    of each conditioner and its null condition, of the denoiser and what the objective reads.

    system: on the meta device. size: a picture's (height, width).
    """
    image, latent = blank(system, size)
    with torch.no_grad(), in_mode(system, training=False):
        compress(system, image, latent)
        if system.denoiser is not None:
            likes = {n: condition_of(system, n, c, latent) for n, c in system.named_conditioners()}
            _denoise(system, latent, joining.merge(likes))


def compress(system: Parts, image: Tensor, latent: Tensor, wrong: str = MISFIT) -> None:
    """A picture through the compression model; UserError, which says what is `wrong`, where one end of it
    gives another shape or type than its neighbours expect."""
    with named("compression", system.recipe.compression, wrong):
        posterior = system.compression.posterior(image)
        check_posterior(posterior, latent)
        encoded, decoded = system.compression.encode(image), system.compression.decode(latent)
        for what, x, like in (("encode", encoded, latent), ("decode", decoded, image)):
            same(what, x, like)
            check_type(what, x)
        check_type("posterior: mode", posterior.mode)
        with torch.enable_grad():
            if not system.compression.decode(latent.clone().requires_grad_()).requires_grad:
                raise ValueError("decode: is not differentiable, so that no encoder could learn")


def blank(system: Parts, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A picture and a latent of that size; UserError where there are no tensors so large."""
    spec = system.compression.latent
    try:
        image = torch.zeros(COUNT, 3, *size, device=META)
        return image, torch.zeros(COUNT, spec.channels, *(s // spec.factor for s in size), device=META)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise UserError(f"size {size[0]}x{size[1]}: there are no pictures so large") from error


def condition_of(
    system: Parts, name: str, conditioner: Conditioner, latent: Tensor, wrong: str = MISFIT
) -> Condition:
    """A condition of the shapes that the conditioner announces, after a check of its null condition, and,
    where it reads what can be made up, of the one that it encodes."""
    like = announced(conditioner, latent)
    with named("conditioner", system.recipe.conditioners[name], wrong):
        made_up = {f: MADE_UP.get(conditioner.spec.kinds.get(f, "other")) for f in conditioner.spec.fields}
        if None not in made_up.values():
            prepared = conditioner.prepare({f: [value] * COUNT for f, value in made_up.items()})
            encoded = conditioner.encode({k: v.to(latent.device) for k, v in prepared.items()}, None)
            check_condition("encode", conditioner.spec, encoded, COUNT)
    with named("conditioner", system.recipe.conditioners[name], wrong):
        null = conditioner.null(like)
        for part in ("tokens", "concat", "vector"):
            own, other = getattr(null, part), getattr(like, part)
            if (own is None) != (other is None):
                raise ValueError(f"null: {part} is {shape_of(own)}, spec says {shape_of(other)}")
            if own is not None and own.shape[-1] != other.shape[-1]:
                raise ValueError(f"null: {part} is {shape_of(own)}, spec says {shape_of(other)}")
    return like


def announced(conditioner: Conditioner, latent: Tensor) -> Condition:
    """A condition as the conditioner announces it, with a mask of its tokens, which some always make."""
    like = joining.zeros(conditioner.spec, COUNT, latent.shape[2:], latent.device)
    if like.tokens is None:
        return like
    return replace(like, mask=torch.ones(like.tokens.shape[:2], dtype=torch.bool, device=latent.device))


def _denoise(system: Parts, latent: Tensor, condition: Condition) -> None:
    slot = system.recipe.denoiser
    assert slot is not None
    channels = system.objective.out_channels(latent.shape[1])
    raw = torch.zeros(COUNT, channels, *latent.shape[2:], device=META)
    time = torch.zeros(COUNT, device=META)
    with named("denoiser", slot):
        same("the output", system.network(latent, time, condition), raw)
        if system.recipe.train.diffusion is not None:
            _check_learns(system, latent, time, condition)
    with named("denoiser", slot):
        bound = system.network.bind(condition)
        for _ in range(2):  # it is called at each step
            same("the output of bind", bound(latent, time), raw)
    with named("denoiser", slot):
        if system.recipe.sampler.reuse > 1:
            bound = reusing(system.network, condition, system.recipe.sampler.reuse)
            for _ in range(2):  # the second call is the first that reuses
                same("the output of bind_reusing", bound(latent, time), raw)
    with named("objective", system.recipe.objective):
        level = system.schedule.level(torch.full((COUNT,), 0.5))
        estimate = system.objective.estimate(raw, latent, level)
        same("the clean estimate", estimate.clean, latent)
        same("the noise estimate", estimate.noise, latent)


def _check_learns(system: Parts, latent: Tensor, time: Tensor, condition: Condition) -> None:
    """ValueError where the output does not depend on weights that are to be trained."""
    if any(weight.requires_grad for weight in system.network.parameters()):
        with torch.enable_grad():
            if not system.network(latent, time, condition).requires_grad:
                raise ValueError("the output does not depend on its weights, so that it could not learn")


def activations(system: Parts, stage: str, size: tuple[int, int]) -> int:
    """Bytes of activations that a training keeps for one picture; 0 where that cannot be counted.

    Counts the autoencoder or the denoiser; losses, adversaries and conditioners come on top.
    """
    image, _ = blank(system, size)

    def compression() -> Image:
        posterior = system.compression.posterior(image)
        return system.compression.decode(posterior.mode)

    forward = compression if stage == "compression" else partial(denoised, system, size)
    return _kept(system, forward) // COUNT


def denoised(system: Parts, size: tuple[int, int]) -> Latent:
    """The network's output for COUNT pictures of that size."""
    _, latent = blank(system, size)
    likes = {n: announced(c, latent) for n, c in system.named_conditioners()}
    return system.network(latent, torch.zeros(COUNT, device=META), joining.merge(likes))


def _kept(system: Parts, forward: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps of a call, without the weights; each storage counts once."""
    weights = {x.untyped_storage()._cdata for x in system.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage()._cdata] = x  # held, so that no other tensor gets its place
        return x

    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            forward()
    except Exception:
        # An estimate alone: what needs numbers cannot run on the meta device; `rehearse` tells misfits.
        return 0
    return sum(x.untyped_storage().nbytes() for key, x in kept.items() if key not in weights)


def learns(module: Module) -> bool:
    """Whether it has weights that are not frozen. A training leaves a conditioner without any in evaluation
    mode."""
    return any(weight.requires_grad for weight in module.parameters())


@contextmanager
def in_mode(module: Module, *, training: bool) -> Iterator[None]:
    """Within, the module is in training or in evaluation mode; afterwards each part of it is in the mode that
    it had, and its buffers (statistics of batches) and the generators of random numbers are as they were."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for _, buffer in module.named_buffers()] if training else []
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):
        module.train(training)
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


@contextmanager
def named(kind: str, slot: Component, wrong: str = MISFIT) -> Iterator[None]:
    """A context in which an error becomes a UserError that names the component and the reason."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:  # a stranger's component may raise anything
        if not raised_by_it(error):
            raise
        if not META_DEVICE.search(text_of(error)):  # else it needs numbers: see above
            line = text_of(error)[:300] if isinstance(error, ValueError) else described(error)
            raise component_error(kind, slot, f"{wrong}: {line}") from error
