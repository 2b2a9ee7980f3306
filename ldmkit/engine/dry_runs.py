"""What sampling and training run, on the meta device, where tensors have shapes and take no memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ldmkit.engine import conditions as joining
from ldmkit.engine.estimates import network_estimate
from ldmkit.engine.parts import Parts
from ldmkit.engine.plans import Plan
from ldmkit.engine.promises import check_estimate, same
from ldmkit.engine.rehearsal import COUNT, announced, blank, compress, condition_of, in_mode, learns, named
from ldmkit.types import Conditions

IN_TRAINING = "fails in training mode"


def rehearse_sampling(system: Parts, plan: Plan, size: tuple[int, int]) -> None:
    """UserError that names the denoiser where it does not run as samplers and guidance call it: bound to a
    condition, and to that and its null condition in one batch, at several levels.

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
        for wanted in ([conditions], [conditions, _null(system, conditions)]):
            with named("denoiser", slot):
                estimate = network_estimate(system, plan.slot)
                for level in (levels[0], levels[len(levels) // 2]):
                    for one in estimate(latent, level, wanted):
                        check_estimate(one, latent)


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
