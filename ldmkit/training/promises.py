"""Checks of what joins a training, before its first step: losses, adversaries, optimizers, adapters.

Each raises UserError that names the component which does not do what `ldmkit.interfaces` says. What a
component returns is typed Any here, since it may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.engine.adapters import attach
from ldmkit.engine.dry_runs import IN_TRAINING
from ldmkit.engine.parts import Parts
from ldmkit.engine.promises import check_numbers, check_scalar, shape_of
from ldmkit.engine.rehearsal import COUNT, denoised, in_mode, named
from ldmkit.engine.system import System
from ldmkit.engine.trial import WRONG
from ldmkit.interfaces import Adversary, Distillation, Loss, NoiseSchedule, Optimizer
from ldmkit.recipe.components import Component
from ldmkit.recipe.stages import CompressionTraining
from ldmkit.training.auxiliary import Auxiliaries
from ldmkit.training.optim import optimizer_numbers
from ldmkit.types import Estimate, Image, Latent, Level


def try_losses(
    losses: Sequence[Loss], adversary: Adversary | None, options: CompressionTraining, image: Image
) -> None:
    """Tries losses and adversary on a grey picture; their weights and random generators stay as they are.

    image: a picture of the size that training has.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        decoded = torch.zeros_like(image).requires_grad_()
        for slot, loss in zip(options.loss, losses, strict=True):
            with named("loss", slot, WRONG):
                _loss(loss, decoded, image)
        if adversary is not None and options.adversary is not None:
            for training, wrong in ((False, WRONG), (True, IN_TRAINING)):  # it may begin late
                with named("adversary", options.adversary, wrong), in_mode(adversary, training=training):
                    _adversary(adversary, decoded, image)


def _loss(loss: Loss, decoded: Image, image: Image) -> None:
    value: Any = loss(decoded, image)
    if not isinstance(value, Tensor):
        raise ValueError(f"returns {shape_of(value)}, a tensor is expected")
    try:
        value.expand_as(image)
    except RuntimeError as error:
        raise ValueError(f"returns {shape_of(value)}, pictures are {shape_of(image)}") from error


def _adversary(adversary: Any, decoded: Image, image: Image) -> None:
    if not isinstance(adversary.trains(0), bool):
        raise ValueError(f"trains gives {adversary.trains(0)!r}, neither True nor False")
    if not isinstance(adversary.weight(0), int | float):
        raise ValueError(f"weight gives {adversary.weight(0)!r}, no number")
    generator = adversary.generator_loss(decoded)
    check_scalar("generator_loss", generator)
    if not generator.requires_grad:
        raise ValueError("generator_loss does not depend on the reconstruction")
    nll = (decoded - image).square().mean()
    balance: Any = adversary.balance(nll, generator, lambda loss: torch.ones(4, device=image.device))
    check_scalar("balance", balance)
    loss = adversary.discriminator_loss(image, decoded.detach())
    check_scalar("discriminator_loss", loss)
    if not loss.requires_grad:
        raise ValueError("discriminator_loss does not depend on the weights")


def try_optimizer(make: Optimizer, slot: Component) -> None:
    """Takes a step with two small weights."""
    weights = {"weight": nn.Parameter(torch.ones(4, 4)), "bias": nn.Parameter(torch.ones(4))}
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), named("optimizer", slot, WRONG):
        optimizer: Any = make([{"params": list(weights.items()), "lr": 1e-3, "factor": 1.0}])
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ValueError(f"returns {type(optimizer).__name__}, no torch.optim.Optimizer")
        groups = optimizer.param_groups
        held = {id(p) for group in groups for p in group["params"]}
        if {id(p) for p in weights.values()} != held or any("factor" not in group for group in groups):
            raise ValueError("its param_groups do not hold all weights and their 'factor'")
        for weight in weights.values():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        optimizer.zero_grad()
        optimizer_numbers(optimizer, weights)
        for name, weight in weights.items():
            if not weight.isfinite().all():
                raise ValueError(f"a step makes the {name} not finite")


def try_distillation(distillation: Distillation, slot: Component, schedule: NoiseSchedule) -> None:
    """Tries the loss on two latents, with a student and a teacher that estimate zeros."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), named("distillation", slot, WRONG):
        weight = torch.zeros((), requires_grad=True)

        def student(z: Latent, level: Level) -> Estimate:
            return Estimate(z * weight, z + weight)

        def teacher(z: Latent, level: Level) -> tuple[Estimate, Estimate]:
            return Estimate(z, z), Estimate(z, z)

        clean, noise = torch.ones(2, 2, 4, 4), torch.ones(2, 2, 4, 4)
        t = schedule.draw(2, torch.Generator().manual_seed(0), (4, 4))
        loss: Any = distillation(student, teacher, clean, noise, t)
        check_numbers("it", loss, (2,))
        if not loss.requires_grad:
            raise ValueError("its loss does not depend on the student")


def try_auxiliary(
    system: Parts, auxiliaries: Auxiliaries, slots: Sequence[Component], size: tuple[int, int]
) -> None:
    """Tries each loss on features of the shapes that the denoiser's layers have.

    system: on the meta device. size: a picture's (height, width).
    """
    seen: dict[str, Any] = {}
    with named("denoiser", system.recipe.denoiser or slots[0]), auxiliaries.features(seen), torch.no_grad():
        denoised(system, size)
    image = torch.zeros(COUNT, 3, *size)
    level = system.schedule.level(torch.full((COUNT,), 0.5, dtype=torch.float64))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for slot, loss in zip(slots, auxiliaries.each(), strict=True):
            if all(isinstance(seen.get(layer), Tensor) for layer in loss.layers):
                own = {n: torch.ones(seen[n].shape, requires_grad=True) for n in loss.layers}
                with named("auxiliary", slot, WRONG):
                    value: Any = loss(own, image, level)
                    check_numbers("it", value, (COUNT,))
                    if not value.requires_grad:
                        raise ValueError("its loss does not depend on the layers")


def try_adapters(system: System) -> None:
    """Tries to attach the recipe's adapters to a system on the meta device, which is changed by it."""
    with torch.device("meta"):
        for name, slot in system.recipe.adapters.items():
            with named("adapter", slot, WRONG):
                _adapter(attach(system, name), learns=slot.train is not None)
        for name, slot in system.recipe.adapters.items():
            if slot.merge:
                with named("adapter", slot, WRONG):
                    system.adapters.pop(name).merge()


def try_adapted(system: Parts, size: tuple[int, int]) -> None:
    """Runs the denoiser with the adapters that `try_adapters` attached, as sampling and training do.

    system: on the meta device. size: a picture's (height, width).
    """
    for slot in [*system.recipe.adapters.values()][-1:]:
        for training, wrong in ((False, WRONG), (True, IN_TRAINING)):
            with named("adapter", slot, wrong), in_mode(system.network, training=training), torch.no_grad():
                denoised(system, size)


def _adapter(adapter: Any, *, learns: bool) -> None:
    state = adapter.state()
    if not isinstance(state, Mapping) or not all(isinstance(x, Tensor) for x in state.values()):
        raise ValueError(f"state gives {type(state).__name__}, a mapping of names to tensors is expected")
    if learns and not any(x.requires_grad and x.is_leaf for x in state.values()):
        raise ValueError("state holds no weights that could be trained (parameters themselves, no copies)")
    adapter.set_strength(1.0)
