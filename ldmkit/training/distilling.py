"""The step of the diffusion stage in which a frozen teacher takes the place of the objective's loss."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ldmkit.engine.components import build
from ldmkit.engine.conditions import concatenate, merge
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interfaces import Distillation, EstimateFunction, TeacherEstimate
from ldmkit.recipe.components import Component
from ldmkit.recipe.stages import DiffusionTraining
from ldmkit.training.auxiliary import Auxiliaries
from ldmkit.training.diffusion_step import DiffusionStep
from ldmkit.training.promises import try_distillation
from ldmkit.training.split import DiffusionDraws
from ldmkit.types import Condition, Estimate, Latent, Level


def step_of(
    system: System, options: DiffusionTraining, auxiliary: Auxiliaries | None = None
) -> DiffusionStep:
    """The TrainingStep that the settings ask for."""
    if options.distillation is None:
        return DiffusionStep(system, auxiliary)
    return DistillationStep(system, options.distillation, auxiliary)


def check_teacher(options: DiffusionTraining | None, start: object) -> None:
    """UserError for a distillation whose training starts from nothing: initial weights teach nothing."""
    if options is not None and options.distillation is not None and start is None:
        raise UserError(
            f"train.diffusion.distillation ({options.distillation.name}) needs a teacher: name a trained "
            "model in `weights`"
        )


class DistillationStep(DiffusionStep):
    """The denoiser and the conditioners learn from a frozen copy of themselves, made with this object.

    The teacher shares frozen conditioners with the student and has copies of all else.
    """

    def __init__(self, system: System, slot: Component, auxiliary: Auxiliaries | None = None) -> None:
        super().__init__(system, auxiliary)
        self._distillation: Distillation = build(
            system.registry, "distillation", slot, schedule=system.schedule
        )
        try_distillation(self._distillation, slot, system.schedule)
        before = DiffusionStep(system)
        shared = {id(conditioner): conditioner for conditioner in before.frozen}
        self.teacher: DiffusionStep = deepcopy(before, shared).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> DistillationStep:
        """As in the diffusion step; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def per_picture(self, batch: Mapping[str, Any], draws: DiffusionDraws) -> Float[Tensor, " b"]:
        """The distillation's loss of each picture."""
        condition = merge(self.conditions(batch["conditions"], draws))
        return self._distillation(
            self._student(condition), self._taught(batch, draws), batch["clean"], draws.noise, draws.t
        )

    def _student(self, condition: Condition) -> EstimateFunction:
        def estimate(z: Latent, level: Level) -> Estimate:
            return self.objective.estimate(self.raw(z, level, condition), z, level)

        return estimate

    @torch.no_grad()
    def _taught(self, batch: Mapping[str, Any], draws: DiffusionDraws) -> TeacherEstimate:
        """The teacher's estimates under the pictures' conditions and the null ones, in one batch."""
        teacher = self.teacher
        conditions = teacher.conditions(batch["conditions"], draws)
        null = {name: teacher.conditioner(name).null(c) for name, c in conditions.items()}
        both = concatenate([merge(conditions), merge(null)])

        @torch.no_grad()
        def estimate(z: Latent, level: Level) -> tuple[Estimate, Estimate]:
            twice, levels = torch.cat([z, z]), level.map(lambda x: torch.cat([x, x]))
            value = teacher.objective.estimate(teacher.raw(twice, levels, both), twice, levels)
            halves = zip(value.clean.chunk(2), value.noise.chunk(2), strict=True)
            led, blind = (Estimate(clean, noise) for clean, noise in halves)
            return led, blind

        return estimate
