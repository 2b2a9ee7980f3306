"""A pass of two pictures through a system on the meta device, where tensors have shapes and take no memory.

Components whose shapes do not fit their neighbours are refused before any work, by name. One that needs the
numbers themselves cannot be rehearsed; it is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ldmkit.engine import conditions as joining
from ldmkit.engine.components import component_error
from ldmkit.engine.parts import Parts
from ldmkit.engine.promises import check_posterior, check_type, same, shape_of
from ldmkit.engine.running import reusing
from ldmkit.errors import UserError
from ldmkit.host.contained import described, raised_by_it, text_of
from ldmkit.interfaces import Conditioner, Module
from ldmkit.recipe.components import Component
from ldmkit.types import Condition, Image, Latent

META = torch.device("meta")
COUNT = 2
"""Pictures of the pass: norms refuse a single one whose map is a single position."""


def rehearse(system: Parts, size: tuple[int, int]) -> None:
    """UserError that names the component whose shapes do not fit: of the compression model and its latent,
    of each conditioner and its null condition, of the denoiser and what the objective reads.

    system: on the meta device. size: a picture's (height, width).
    """
    image, latent = blank(system, size)
    with torch.no_grad():
        with named("compression", system.recipe.compression):
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
        if system.denoiser is not None:
            likes = {n: _rehearsed(system, n, c, latent) for n, c in system.named_conditioners()}
            _denoise(system, latent, joining.merge(likes))


def blank(system: Parts, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A picture and a latent of that size; UserError where there are no tensors so large."""
    spec = system.compression.latent
    try:
        image = torch.zeros(COUNT, 3, *size, device=META)
        return image, torch.zeros(COUNT, spec.channels, *(s // spec.factor for s in size), device=META)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise UserError(f"size {size[0]}x{size[1]}: there are no pictures so large") from error


def _rehearsed(system: Parts, name: str, conditioner: Conditioner, latent: Tensor) -> Condition:
    """A condition of the shapes that the conditioner announces, after a check of its null condition."""
    like = announced(conditioner, latent)
    with named("conditioner", system.recipe.conditioners[name]):
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
        same("the output of bind", system.network.bind(condition)(latent, time), raw)
        if system.recipe.train.diffusion is not None:
            _check_learns(system, latent, time, condition)
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


@contextmanager
def evaluating(module: Module) -> Iterator[None]:
    """Within, the module is in evaluation mode; afterwards each part of it is in the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def named(kind: str, slot: Component, wrong: str = "does not fit its neighbours") -> Iterator[None]:
    """A context in which an error becomes a UserError that names the component and the reason."""
    try:
        yield
    except UserError:
        raise
    except BaseException as error:  # a stranger's component may raise anything
        if not raised_by_it(error):
            raise
        if "meta" not in text_of(error).lower():  # else it needs numbers: see above
            line = text_of(error)[:300] if isinstance(error, ValueError) else described(error)
            raise component_error(kind, slot, f"{wrong}: {line}") from error
