"""The TrainingStep of stage two: the loss of a batch (the paper, equations 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.engine.conditions import merge, replaced
from ldmkit.engine.system import System
from ldmkit.interfaces import Conditioner
from ldmkit.training.auxiliary import Auxiliaries
from ldmkit.training.dropout import Dropout
from ldmkit.training.split import DiffusionDraws, Given
from ldmkit.training.stage import Losses
from ldmkit.types import Condition, Latent, Level, Prepared


class DiffusionStep(nn.Module):
    """L = E || target - network(z_t, t, tau_theta(y)) ||^2 with the objective's target and weight."""

    def __init__(self, system: System, auxiliary: Auxiliaries | None = None) -> None:
        super().__init__()
        self.denoiser = system.network
        self.auxiliary = auxiliary
        self.conditioners = system.conditioners
        self.schedule, self.objective = system.schedule, system.objective
        self.dropped = Dropout(system)
        self.frozen = [
            c for c in self.conditioners.values() if not any(p.requires_grad for p in c.parameters())
        ]

    def train(self, mode: bool = True) -> DiffusionStep:
        """As in nn.Module, but frozen conditioners stay in evaluation mode."""
        super().train(mode)
        for conditioner in self.frozen:
            conditioner.eval()
        return self

    @property
    def every_weight(self) -> bool:
        """Whether each step reaches the same weights: those of a conditioner may depend on what it is given,
        as where each class has weights of its own."""
        return self.auxiliary is None and len(self.frozen) == len(self.conditioners)

    def forward(self, batch: Mapping[str, Any], draws: DiffusionDraws) -> tuple[Losses, dict[str, Tensor]]:
        """The mean loss of a batch: {"clean": scaled latents, "conditions": Given}, and
        {"image": pictures} for auxiliary losses."""
        if self.auxiliary is None:
            return {"loss": self.per_picture(batch, draws).mean()}, {}
        features: dict[str, Any] = {}
        with self.auxiliary.features(features):
            objective = self.per_picture(batch, draws).mean()
        level = self.schedule.level(draws.t, batch["clean"].shape[2:])
        extra = self.auxiliary(features, batch["image"], level)
        loss = objective + torch.stack(list(extra.values())).sum()
        figures = {"objective": objective, **extra}
        return {"loss": loss, **{name: value.detach() for name, value in figures.items()}}, {}

    def per_picture(self, batch: Mapping[str, Any], draws: DiffusionDraws) -> Float[Tensor, " b"]:
        """The objective's loss of each picture."""
        clean = batch["clean"]
        level = self.schedule.level(draws.t, clean.shape[2:])
        z = level.add_noise(clean, draws.noise)
        raw = self.raw(z, level, merge(self.conditions(batch["conditions"], draws)))
        return self.objective.loss(raw, clean, draws.noise, level)

    def raw(self, z: Latent, level: Level, condition: Condition) -> Latent:
        """The network's output at levels that are each picture's own."""
        return self.denoiser(self.objective.scale_input(z, level), level.time.to(z), condition)

    def conditions(self, inputs: Given, draws: DiffusionDraws) -> dict[str, Condition]:
        """The conditions by id, encoded, some replaced by null ones."""
        generator = torch.Generator(draws.t.device).manual_seed(draws.key)
        encoded = dict(inputs.encoded)
        for name, prepared in inputs.prepared.items():
            encoded[name] = self._encoded(name, prepared, draws, generator)
        return {name: encoded[name] for name in self.conditioners}

    def conditioner(self, name: str) -> Conditioner:
        """The conditioner of that id."""
        # A cast, since a ModuleDict does not say what it holds.
        return cast(Conditioner, self.conditioners[name])

    def _encoded(
        self, name: str, prepared: Prepared, draws: DiffusionDraws, generator: torch.Generator
    ) -> Condition:
        """tau_theta(y), or the null condition where a picture drops it (for classifier-free guidance)."""
        conditioner = self.conditioner(name)
        condition = conditioner.encode(prepared, generator)
        drop = self.dropped(name, draws.drop)
        return condition if drop is None else replaced(condition, conditioner.null(condition), drop)
