"""The joined components of one recipe, and pictures from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import PIL.Image
import torch

from ldmkit.engine import conditions as joining
from ldmkit.engine import sampling
from ldmkit.engine.components import build as build_component
from ldmkit.engine.parts import Parts
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interfaces import Denoiser, NoiseSchedule, Objective
from ldmkit.recipe import Recipe
from ldmkit.types import Conditions, Latent


class System(Parts):
    """The parts of a recipe, and pictures from them."""

    def sample_latent(
        self,
        conditions: Conditions,
        noise: Latent | None = None,
        sampler: str | Mapping[str, Any] | None = None,
        steps: int | None = None,
        guidance: Sequence[Mapping[str, Any]] | None = None,
        seeds: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
        null: Conditions | None = None,
    ) -> Latent:
        """A latent for each picture of `conditions`; what is not given is the recipe's.

        noise: x_T, unit variance; drawn from `seeds` (one a picture) where not given. size: the picture's
        (height, width), by default that of the noise, of a condition's map, or the recipe's. null: what
        guidance steers away from.
        """
        size = size or sampling.given_size(self, conditions, noise)
        plan = sampling.plan(self, sampler=sampler, steps=steps, guidance=guidance, size=size)
        return sampling.sample_latent(self, plan, conditions, noise=noise, seeds=seeds, null=null)

    def sample(
        self,
        prompts: Sequence[str] | None = None,
        seed: int | None = None,
        *,
        fields: Mapping[str, Sequence[Any]] | None = None,
        negative: str | None = None,
        seeds: Sequence[int] | None = None,
        batch: int | None = None,
        **options: Any,
    ) -> list[PIL.Image.Image]:
        """Pictures, one a prompt (or one an entry of `fields`: raw inputs by field).

        Picture i has seed + i, or seeds[i]: its noise depends on neither batch nor order. `options` are
        those of `sampling.plan`: sampler, steps, guidance, size.
        """
        raw = sampling.raw_inputs(self, prompts, fields)
        seeds = sampling.seeds_for(self, raw, seed, seeds)
        batches = sampling.pictures(self, raw, seeds, negative=negative, batch=batch, **options)
        return [picture for made in batches for picture in made]


def assemble(recipe: Recipe, registry: Registry) -> System:
    """The untrained system of a resolved recipe; sizes are derived from neighbours."""
    compression = build_component(registry, "compression", recipe.compression)
    latent = compression.latent
    conditioners = {
        name: build_component(registry, "conditioner", slot, latent=latent, compression=compression)
        for name, slot in recipe.conditioners.items()
    }
    with torch.device("cpu"):  # `check` builds modules on "meta"; a schedule needs its numbers even then
        schedule = build_component(registry, "schedule", recipe.schedule)
        objective = build_component(registry, "objective", recipe.objective, schedule=schedule)
        _check_objective(objective, schedule, recipe)
    denoiser: Denoiser | None = None
    if recipe.denoiser is not None:
        denoiser = build_component(
            registry,
            "denoiser",
            recipe.denoiser,
            latent=latent,
            conditions=joining.merged_spec({name: c.spec for name, c in conditioners.items()}),
            out_channels=objective.out_channels(latent.channels),
        )
    return System(recipe, registry, compression, conditioners, denoiser, schedule, objective)


def _check_objective(objective: Objective, schedule: NoiseSchedule, recipe: Recipe) -> None:
    try:
        objective.check(schedule)
    except ValueError as error:
        raise UserError(f"objective ({recipe.objective.name}): {error}") from error
