"""The contract of a distillation: call `check_distillation` from a test of yours."""

from __future__ import annotations

import torch
from torch import nn

from ldmkit.interfaces import Distillation, NoiseSchedule
from ldmkit.testing.diffusion import TOLERANCE, check_near, point_estimate
from ldmkit.types import Estimate, Latent, Level

PICTURES = 4


def check_distillation(distillation: Distillation, schedule: NoiseSchedule) -> None:
    """Checks that there is one finite loss for each picture, of that picture alone, from which the student
    learns and the teacher does not.

    The data are one picture for each entry of the batch, so that a student which knows it has no loss.

    Raises AssertionError naming the promise of `Distillation` that is broken.
    """
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(PICTURES, 3, 8, 8, generator=generator) for _ in range(2))
    t = schedule.draw(PICTURES, generator, (8, 8))
    least = _loss(distillation, _Student(clean, 0.0), clean, noise, t)
    assert (least.detach().abs() < TOLERANCE).all(), "a student that is right has a loss"
    student = _Student(clean, 0.1)
    loss = _loss(distillation, student, clean, noise, t)
    assert loss.shape == (PICTURES,), f"one loss a picture, not {tuple(loss.shape)}"
    assert torch.isfinite(loss).all(), "the loss is finite"
    loss.sum().backward()
    assert student.error.grad, "no gradient reaches the student"
    for i in range(PICTURES):
        one = slice(i, i + 1)
        alone = _loss(distillation, _Student(clean[one], 0.1), clean[one], noise[one], t[one])
        check_near(alone.detach(), loss[one].detach(), f"picture {i} alone")


def _loss(
    distillation: Distillation, student: _Student, clean: Latent, noise: Latent, t: torch.Tensor
) -> torch.Tensor:
    before = clean.clone()
    exact, frozen = point_estimate(clean), torch.ones((), requires_grad=True)

    def teacher(z: Latent, level: Level) -> tuple[Estimate, Estimate]:
        right = exact(z, level)
        led = Estimate(right.clean * frozen, right.noise)
        return led, led

    loss = distillation(student, teacher, clean, noise, t)
    if loss.requires_grad:
        gradient = torch.autograd.grad(loss.sum(), frozen, retain_graph=True, allow_unused=True)[0]
        assert gradient is None, "a gradient reaches the teacher"
    assert torch.equal(clean, before), "the clean latents are changed in place"
    return loss


class _Student(nn.Module):
    """Knows the picture but for an error that grows with the noise."""

    def __init__(self, picture: Latent, error: float) -> None:
        super().__init__()
        self.picture, self.error = picture, nn.Parameter(torch.tensor(error))

    def forward(self, z: Latent, level: Level) -> Estimate:
        right, at = point_estimate(self.picture)(z, level), level.like(z)
        return Estimate(right.clean + self.error * at.sigma, right.noise - self.error * at.alpha)
