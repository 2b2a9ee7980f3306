"""What sampling and training run, on the meta device, where tensors have shapes and take no memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ldmkit.engine import conditions as joining
from ldmkit.engine.estimates import network_estimate
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan
from ldmkit.engine.promises import ROUNDING, check_estimate, same
from ldmkit.engine.rehearsal import COUNT, announced, blank, compress, condition_of, in_mode, learns, named
from ldmkit.engine.trial import WRONG
from ldmkit.interfaces import Denoiser
from ldmkit.types import Conditions

IN_TRAINING = "fails in training mode"


def rehearse_sampling(system: Parts, plan: Plan, size: tuple[int, int]) -> None:
    """UserError that names the denoiser where it does not run as samplers and guidance call it: bound to a
    condition and its null condition in one batch, at several levels. `rehearse` binds it to one alone.

    system: on the meta device. size: a picture's (height, width).
    """
    slot = system.recipe.denoiser
    if slot is None:
        return
    _, latent = blank(system, size)
    conditions = {name: announced(c, latent) for name, c in system.named_conditioners()}
    with torch.device("cpu"):
        levels = plan.levels(system, (latent.shape[2], latent.shape[3]))
    with torch.no_grad(), in_mode(system, training=False):
        wanted = [conditions, _null(system, conditions)]
        with named("denoiser", slot):
            estimate = network_estimate(system, plan.slot)
            for level in (levels[0], levels[len(levels) // 2]):
                for one in estimate(latent, level, wanted):
                    check_estimate(one, latent)


def try_bound(system: Parts, size: tuple[int, int], network: Denoiser | None = None) -> None:
    """UserError where the denoiser gives another output bound to a condition, as sampling calls it, than
    called with it, as training does. With numbers, on the network's device; its weights stay as they are.

    size: a picture's (height, width). network: in the place of the system's, where that is on the meta
    device.
    """
    slot, network = system.recipe.denoiser, network or system.denoiser
    if slot is None or network is None:
        return
    assert isinstance(network, nn.Module)
    generator, latent = torch.Generator().manual_seed(0), blank(system, size)[1]
    like = next(network.parameters(), system.compression.scale)

    def drawn(x: Tensor) -> Tensor:
        floats = x.is_floating_point()  # else a mask
        value = torch.randn(x.shape, generator=generator) if floats else x
        return value.to(like.device, like.dtype if floats else None)

    cpu = torch.zeros(latent.shape)
    conditions = {name: announced(c, cpu).map(drawn) for name, c in system.named_conditioners()}
    z, condition = drawn(cpu), joining.merge(conditions)
    level = system.schedule.level(torch.tensor([0.3, 0.7], dtype=torch.float64), (z.shape[2], z.shape[3]))
    time = level.time.to(z)
    with torch.no_grad(), in_mode(network, training=False), _moved(network), named("denoiser", slot, WRONG):
        plain, bound = network(z, time, condition), network.bind(condition)(z, time)
        same("the output of bind", bound, plain)
        if float((bound - plain).abs().max()) > ROUNDING * float(plain.abs().max()):
            raise ValueError("the output of bind is another one than that of a call with the same condition")


@contextmanager
def _moved(module: nn.Module) -> Iterator[None]:
    """Within, weights that are all zero, as of a layer that begins so, are small numbers: else nothing would
    reach the output."""
    zero = [weight for weight in module.parameters() if not bool(weight.any())]
    for weight in zero:
        generator = torch.Generator(weight.device).manual_seed(0)
        weight.normal_(std=0.02, generator=generator)
    try:
        yield
    finally:
        for weight in zero:
            weight.zero_()


def _null(system: Parts, conditions: Conditions) -> Conditions:
    """The null conditions; a condition itself where its null condition needs numbers."""
    nulls = dict(conditions)
    for name, conditioner in system.named_conditioners():
        with named("conditioner", system.recipe.conditioners[name]):
            nulls[name] = conditioner.null(conditions[name])
    return nulls


def rehearse_training(system: Parts, size: tuple[int, int]) -> None:
    """UserError that names a component which fails in training mode, of those that the recipe trains.

    system: on the meta device. size: a picture's (height, width).
    """
    image, latent = blank(system, size)
    if system.recipe.train.compression is not None:
        with in_mode(system.get_submodule("compression"), training=True):
            compress(system, image, latent, IN_TRAINING)
    adapted = any(slot.train for slot in system.recipe.adapters.values())
    if system.denoiser is not None and (system.recipe.train.diffusion or adapted):
        with in_mode(system, training=False), in_mode(system.get_submodule("denoiser"), training=True):
            _denoise(system, latent)


def _denoise(system: Parts, latent: Tensor) -> None:
    """The denoiser on conditions of conditioners that learn; a training leaves others in evaluation mode."""
    slot, likes = system.recipe.denoiser, {}
    assert slot is not None
    for name, conditioner in system.named_conditioners():
        training = system.recipe.train.diffusion is not None and learns(conditioner)
        with in_mode(conditioner, training=training):
            likes[name] = condition_of(system, name, conditioner, latent, IN_TRAINING)
    channels = system.objective.out_channels(latent.shape[1])
    with named("denoiser", slot, IN_TRAINING):
        raw = system.network(latent, torch.zeros(COUNT, device=latent.device), joining.merge(likes))
        same("the output", raw, latent[:, :1].expand(-1, channels, -1, -1))
