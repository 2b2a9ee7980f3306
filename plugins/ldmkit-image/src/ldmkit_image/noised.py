"""Upscaling: the low-resolution picture with noise, whose level is an input of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import NonNegativeInt
from torch import nn
from torch.nn.functional import one_hot

from ldmkit.interfaces import NoiseSchedule
from ldmkit.pictures import batch
from ldmkit.types import Condition, ConditionSpec, Prepared


class NoisedLowRes(nn.Module):
    """A low-resolution picture of the latent's size with a schedule's noise, and the noise's timestep.

    concat "b 3 h w": the noised picture. vector "b T": the timestep, one-hot. In training the level is drawn
    from 0 to `most`; in sampling it is `level`, and the noise follows from a fixed seed. Null is the
    condition itself: guidance acts on the other conditions. Source: Ho et al. 2022, "Cascaded Diffusion
    Models", section 4.2; Stable Diffusion's x4 upscaler.

    Args:
        field: the batch field that holds the low-resolution pictures.
        schedule: the noise schedule, of T timesteps.
        level: the timestep of the noise in sampling.
        most: the largest timestep in training.
    """

    def __init__(
        self,
        *,
        schedule: NoiseSchedule,
        field: str = "low_res",
        level: NonNegativeInt = 20,
        most: NonNegativeInt = 350,
    ) -> None:
        super().__init__()
        steps = schedule.timesteps
        if steps is None or level >= steps or most >= steps:
            raise ValueError(f"level {level} and most {most}: a schedule of more timesteps is needed")
        self.field, self.schedule, self.steps, self.level, self.most = field, schedule, steps, level, most
        self.spec = ConditionSpec(fields=(field,), concat=3, vector=steps)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Pictures or tensors to "b 3 h w" in [-1, 1]; ValueError says what is expected."""
        return {self.field: batch(raw, self.field)}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """concat "b 3 h w" and vector "b T"."""
        small = prepared[self.field]
        device, count = small.device, len(small)
        if generator is None:
            steps = torch.full((count,), self.level, device=device)
            noise = torch.stack([_draw(small.shape[1:], i) for i in range(count)]).to(small)
        else:
            steps = torch.randint(self.most + 1, (count,), generator=generator, device=device)
            noise = torch.randn(small.shape, generator=generator, device=device)
        noised = self.schedule.level(steps.double() / (self.steps - 1)).add_noise(small, noise)
        return Condition(concat=noised, vector=one_hot(steps, self.steps).to(small))

    def null(self, like: Condition) -> Condition:
        """The condition itself."""
        return like


def _draw(shape: torch.Size, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
