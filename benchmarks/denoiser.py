"""The UNet beside diffusers' with the same weights: a network pass and a training step.

python benchmarks/denoiser.py [--rounds 10] [--threads 1]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from paired import Case, Job, main
from torch import Tensor, nn
from twins import condition, twin, unet_of

from ldmkit.types import LatentSpec

LARGE = {"width": 64, "multipliers": (1, 2, 4), "attention": (1, 2, 4)}
SMALL = {"width": 96, "multipliers": (1, 2, 3), "attention": (1, 2, 4)}


def jobs(arguments: dict[str, Any], channels: int, size: int, batch: int, train: bool) -> dict[str, Job]:
    """The same work for both."""
    ours = unet_of(LatentSpec(channels, 8), arguments)
    theirs = twin(ours, arguments)
    z = torch.randn(batch, channels, size, size)
    steps, said = torch.linspace(0, 999, batch).round(), condition(batch)

    def their_pass() -> Tensor:
        return theirs(z, steps, said.tokens, return_dict=False)[0]

    if not train:
        bound = ours.eval().bind(said)
        theirs.eval()
        return {"ours": lambda: bound(z, steps), "theirs": their_pass}
    target = torch.randn_like(z)
    return {
        "ours": training_step(ours, lambda: ours(z, steps, said), target),
        "theirs": training_step(theirs, their_pass, target),
    }


def training_step(model: nn.Module, output: Callable[[], Tensor], target: Tensor) -> Job:
    """Forward, backward and a fused AdamW step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = (output() - target).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


CASES = (
    Case("pass, width 64, 32x32, batch 8", partial(jobs, LARGE, 4, 32, 8, False), same=1e-4),
    Case("pass, width 96, 8x8, batch 32", partial(jobs, SMALL, 8, 8, 32, False), same=1e-4),
    Case("training step, width 96, 8x8, batch 32", partial(jobs, SMALL, 8, 8, 32, True), train=True),
)

if __name__ == "__main__":
    main(CASES, __doc__ or "")
