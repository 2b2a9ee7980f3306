"""`build(recipe)`: the joined components of one recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import nn

from ldmkit.engine import conditions as joining
from ldmkit.engine import sampling
from ldmkit.engine.components import build as build_component
from ldmkit.engine.weights import load_weights
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import Registry
from ldmkit.interfaces import CompressionModel, Conditioner, Denoiser, NoiseSchedule, Objective
from ldmkit.recipe import Recipe, load, resolve
from ldmkit.types import Conditions, Image, Latent, PerPicture


class System(nn.Module):
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

    def encode(self, image: Image) -> Latent:
        """`compression.encode`."""
        return self.compression.encode(image)

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


def build(
    source: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    *,
    runs: str | Path = "runs",
    device: str | torch.device = "cpu",
) -> System:
    """The system of a recipe (path, mapping or Recipe), in eval mode, with the weights that are its own.

    Those are what `weights:` names; else what a finished training under `runs` left; else what an installed
    plugin ships for exactly this recipe. A stage that has none keeps its initial weights, with a warning.
    Raises UserError for a recipe or weights that do not fit.
    """
    registry = host().registry
    recipe = resolve(load(source, overrides), registry)
    system = assemble(recipe, registry)
    load_weights(system, Path(runs))
    return system.to(device).eval()


__all__ = ["System", "assemble", "build"]
