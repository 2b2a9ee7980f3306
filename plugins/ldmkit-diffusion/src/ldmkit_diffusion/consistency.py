"""Latent consistency: a network that estimates the clean latent from any point of a teacher's path to it.

Luo et al. 2023, "Latent Consistency Models"; Song et al. 2023, "Consistency Models". The consistency function
f(z_t, t) is the estimate of the clean latent, whatever the objective says that the network's output means. At
the clean end it is z itself: from this boundary the other values are learned.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ldmkit.interfaces import EstimateFunction, NoiseSchedule, Spacing, TeacherEstimate
from ldmkit.types import Estimate, Latent, Level, Levels, NoiseSource, PerPicture

HUBER = 1e-3
"""c of the pseudo-Huber distance sqrt(d^2 + c^2) - c, as published with latent consistency models."""


def consistency(estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
    """Multistep consistency sampling: each step noises the clean estimate anew, up to the next level.

    For models of few steps, trained by `consistency` distillation; take a spacing that ends on clean
    (trailing), and no guidance where the distillation has it inside. Stochastic; one evaluation a step.
    It follows no differential equation, so it has no order.
    Source: Song et al. 2023, algorithm 1; Luo et al. 2023, algorithm 3.
    """
    for i in range(len(levels) - 1):
        z, following = estimate(z, levels[i]).clean, levels[i + 1]
        if float(following.sigma) > 0:
            z = following.add_noise(z, noise(i).to(z))
    return z


class ConsistencyDistillation:
    """Trains f(z_t, t) to equal f(z_s, s), where the teacher's guided DDIM step leads from z_t to z_s.

    Here s is the level after t. The target f(z_s, s) is the student's own current estimate, without gradient;
    where s is clean it is z_s itself. The student learns guidance at one scale and is sampled without any.
    Levels are those of `spacing`; t falls into one of its `steps` equal parts, and so the schedule's draw
    decides which step is learned. Source: Luo et al. 2023, algorithm 1, equations 13 to 17, with skipping
    steps; the target without a moving average of its own after Song and Dhariwal 2023, section 3.2.

    Args:
        spacing: which levels the teacher's path visits, noisiest first; it should end on clean.
        steps: number of steps of the teacher's path; the levels that the student is sampled at should be
            among its levels.
        scale: the teacher's classifier-free guidance; 1 for none.
        distance: what is minimized, a mean over each picture: pseudo-Huber as published, or the squared
            distance l2.
    """

    def __init__(
        self,
        schedule: NoiseSchedule,
        *,
        spacing: Spacing,
        steps: PositiveInt = 50,
        scale: NonNegativeFloat = 4.0,
        distance: Literal["huber", "l2"] = "huber",
    ) -> None:
        self.schedule, self.spacing, self.steps = schedule, spacing, steps
        self.scale, self.distance = scale, distance
        spacing(schedule, steps)  # ValueError for a number of steps that the schedule cannot make

    def __call__(
        self,
        student: EstimateFunction,
        teacher: TeacherEstimate,
        clean: Latent,
        noise: Latent,
        t: Float[Tensor, " b"],
    ) -> PerPicture:
        """The distance of each picture between f(z_t, t) and f(z_s, s)."""
        level, following = self._step(t, clean.shape[2:])
        z = level.add_noise(clean, noise)
        with torch.no_grad():
            target = self._target(student, self._guided(*teacher(z, level)), following)
        difference = (student(z, level).clean - target).flatten(1)
        if self.distance == "l2":
            return difference.square().mean(1)
        return ((difference.square() + HUBER**2).sqrt() - HUBER).mean(1)

    def _step(self, t: Float[Tensor, " b"], size: torch.Size) -> tuple[Level, Level]:
        """The levels at both ends of the step into whose part of [0, 1] t falls."""
        levels = self.spacing(self.schedule, self.steps, (size[0], size[1])).map(lambda x: x.to(t.device))
        first = ((1 - t) * self.steps).long().clamp(0, self.steps - 1)
        return levels[first], levels[first + 1]

    def _guided(self, led: Estimate, blind: Estimate) -> Estimate:
        return Estimate(
            torch.lerp(blind.clean, led.clean, self.scale), torch.lerp(blind.noise, led.noise, self.scale)
        )

    def _target(self, student: EstimateFunction, taught: Estimate, following: Level) -> Latent:
        """f(z_s, s) at the point z_s where the teacher's DDIM step ends."""
        z = following.add_noise(taught.clean, taught.noise)
        at = following.like(z)
        return torch.where(at.sigma > 0, student(z, following).clean, z)
