"""The joined components of a recipe: what sampling, training and the formats stand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ldmkit.engine import conditions as joining
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interfaces import CompressionModel, Conditioner, Denoiser, NoiseSchedule, Objective
from ldmkit.recipe import Recipe
from ldmkit.types import Conditions, Latent, PerPicture


class Parts(nn.Module):
    """A compression model, its conditioners, a denoiser, the schedule and the objective, as the recipe joins
    them. `denoiser` is None in a recipe that is a compression model alone."""

    compression: CompressionModel
    denoiser: Denoiser | None

    def __init__(
        self,
        recipe: Recipe,
        registry: Registry,
        compression: CompressionModel,
        conditioners: Mapping[str, nn.Module],
        denoiser: Denoiser | None,
        schedule: NoiseSchedule,
        objective: Objective,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.registry = registry
        self.compression = compression
        self.conditioners = nn.ModuleDict(dict(conditioners))
        self.denoiser = denoiser
        self.schedule = schedule
        self.objective = objective

    @property
    def device(self) -> torch.device:
        """Where the compression model's weights are."""
        return self.compression.scale.device

    @torch.no_grad()
    def condition(self, raw: Mapping[str, Any], count: int | None = None) -> Conditions:
        """Conditions by the recipe's id, from raw batches by field (or ids and tensors, which pass through).

        count: a single input is repeated for so many pictures. Raises UserError for a missing or unknown
        field and for what a conditioner cannot read.
        """
        self._check_fields(raw)
        made = {}
        for name, conditioner in self.named_conditioners():
            try:
                prepared = conditioner.prepare({f: raw[f] for f in conditioner.spec.fields})
            except ValueError as error:
                raise UserError(f"condition '{name}': {error}") from error
            made[name] = conditioner.encode({k: v.to(self.device) for k, v in prepared.items()})
        return made if count is None else _repeated(made, count)

    def null(self, conditions: Conditions) -> Conditions:
        """The conditions that say nothing, in the shape of those given."""
        return {name: c.null(conditions[name]) for name, c in self.named_conditioners()}

    def named_conditioners(self) -> list[tuple[str, Conditioner]]:
        """The conditioners by the recipe's id, in its order."""
        return [(name, module) for name, module in self.conditioners.items()]  # type: ignore[misc]

    @torch.no_grad()
    def denoise(self, z_t: Latent, time: PerPicture, conditions: Conditions) -> Latent:
        """The network's raw output; `time` is what the schedule tells it (an integer step as float)."""
        return self.network(z_t, time, joining.merge(conditions))

    @property
    def network(self) -> Denoiser:
        """The denoiser; UserError where the recipe has none."""
        if self.denoiser is None:
            raise UserError(f"recipe '{self.recipe.name}' has no denoiser: it is a compression model alone")
        return self.denoiser

    def _check_fields(self, raw: Mapping[str, Any]) -> None:
        known = {f for _, c in self.named_conditioners() for f in c.spec.fields}
        for word, names in (("needs", known - set(raw)), ("does not read", set(raw) - known)):
            if names:
                listed = ", ".join(sorted(names))
                raise UserError(f"recipe '{self.recipe.name}' {word} the condition field(s) {listed}")


def _repeated(conditions: Conditions, count: int) -> Conditions:
    held = joining.count_of(conditions.values())
    if held in (None, count):
        return conditions
    if held != 1:
        raise UserError(f"{held} inputs do not make {count} pictures: give 1 or {count}")
    return {name: c.map(lambda x: x.expand(count, *x.shape[1:])) for name, c in conditions.items()}
