"""The UNet keeps the contract of a denoiser, and the contract finds those that do not."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from ldmkit_unet.unet import UNet

from ldmkit.testing.denoiser import check_denoiser
from ldmkit.types import Condition

SMALL = {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (2,)}


@pytest.mark.parametrize(
    "parameters", [{}, {"scale_shift": True, "resample": "residual", "checkpoint": True}]
)
def test_the_unet_keeps_the_contract(parameters):
    check_denoiser(partial(UNet, **SMALL, **parameters))


class Deaf(UNet):
    """Forgets the mask."""

    def bind(self, condition):
        return super().bind(Condition(condition.tokens, None, condition.concat, condition.vector))


class Stale(UNet):
    """Binds with the first step's time."""

    def bind(self, condition):
        bound, first = super().bind(condition), []

        def stale(z, time):
            first.append(time)
            return bound(z, first[0])

        return stale


class Mixed(UNet):
    """Norms over the batch."""

    def forward(self, z, time, condition):
        return super().forward(z - z.mean(0), time, condition)


class Forgetful(UNet):
    """Cuts the gradient of the condition."""

    def bind(self, condition):
        return super().bind(condition.map(torch.Tensor.detach))


@pytest.mark.parametrize(
    ("broken", "named"),
    [(Deaf, "mask"), (Stale, "bind"), (Mixed, "bind|batch"), (Forgetful, "gradients.*tokens")],
)
def test_a_broken_one_is_found(broken, named):
    with pytest.raises(AssertionError, match=named):
        check_denoiser(partial(broken, **SMALL))
