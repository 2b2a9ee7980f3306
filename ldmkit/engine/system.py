"""The joined components of one recipe, and pictures from them."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from ldmkit.engine import conditions as joining
from ldmkit.engine import plans, sampling, sizes
from ldmkit.engine.components import build as build_component
from ldmkit.engine.components import component_error
from ldmkit.engine.counting import counts
from ldmkit.engine.estimates import Watch
from ldmkit.engine.limits import bounded
from ldmkit.engine.parts import Parts
from ldmkit.engine.requests import check_strength, check_texts, inputs_of
from ldmkit.engine.unread import note_unread
from ldmkit.engine.whole_numbers import is_whole
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interfaces import Conditioner, Denoiser, NoiseSchedule, Objective
from ldmkit.pictures import Pictures
from ldmkit.progress import Meter
from ldmkit.recipe import Recipe
from ldmkit.types import Conditions, Latent, LatentSpec, Request


class System(Parts):
    """The parts of a recipe, and pictures from them."""

    @property
    def size(self) -> tuple[int, int] | None:
        """The pictures' (height, width), where the recipe or its data say one."""
        return sizes.known_size(self)

    def sample_latent(
        self,
        conditions: Conditions,
        noise: Latent | None = None,
        sampler: str | Mapping[str, Any] | None = None,
        steps: int | None = None,
        guidance: float | Sequence[Mapping[str, Any]] | None = None,
        seeds: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
        null: Conditions | None = None,
        init: Latent | None = None,
        strength: float = 1.0,
    ) -> Latent:
        """A latent for each picture of `conditions`; what is not given is the recipe's.

        noise: x_T, unit variance; drawn from `seeds` (one a picture) where not given. size: the picture's
        (height, width), by default that of the noise, of a condition's map, or the recipe's. null: what
        guidance steers away from. guidance: components, or a number for the scale of the recipe's. init:
        latents to start from, noised so that a share `strength` of the steps is left.
        """
        shaped = init if noise is None else noise
        size = size or sizes.given_size(self, conditions, shaped)
        sizes.check_maps(self, conditions, size)
        count = len(shaped) if shaped is not None else joining.count_of(conditions.values()) or 1
        plan = plans.plan(self, sampler=sampler, steps=steps, guidance=guidance)
        request = Request(
            conditions,
            null or (self.null(conditions) if plan.guidance else conditions),
            decode=self.painter.decode,
            seeds=list(range(count)) if seeds is None else seeds,
            size=size,
        )
        return sampling.sample_latent(self, plan, request, noise=noise, init=init, strength=strength)

    def sample(
        self,
        prompts: Sequence[str] | None = None,
        seed: int | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        negative: str | None = None,
        seeds: Sequence[int] | None = None,
        count: int | None = None,
        init: Any = None,
        strength: float | None = None,
        batch: int | None = None,
        size: tuple[int, int] | None = None,
        sampler: str | Mapping[str, Any] | None = None,
        steps: int | None = None,
        guidance: float | Sequence[Mapping[str, Any]] | None = None,
        callback: Watch | None = None,
        progress: bool = False,
    ) -> Pictures:
        """Pictures, one a prompt (or one an entry of `fields`); what is not given is the recipe's.

        Picture i has seed + i, or seeds[i]: its noise depends on neither batch nor order. Raises UserError
        for inputs that do not fit the recipe or each other.

        Args:
            prompts: texts for `prompt_field`, the first field that a conditioner reads as a text.
            seed: of the first picture.
            fields: raw inputs by field, for conditioners and for guidance; a single value is for all
                pictures, None leaves the condition out.
            negative: the prompt to steer away from.
            seeds: one a picture, in the place of `seed`.
            count: how many pictures of each input.
            init: pictures to start from (PIL pictures, files, or a tensor in [-1, 1]), one or one a picture.
            strength: how much of the noise `init` gets, above 0, up to 1: the share of the steps taken.
            batch: how many pictures are sampled together.
            size: the pictures' (height, width).
            sampler: a sampler by name, or with its parameters.
            steps: of the sampler.
            guidance: components in the place of the recipe's, or a number for the scale of the recipe's.
            callback: called after each estimate of a batch with the share of its levels that is done and
                the clean latents as they are estimated now; what it raises stops the sampling.
            progress: show a bar and the time left, on standard error or in the notebook.
        """
        inputs = inputs_of(
            self,
            prompts,
            fields,
            count=count,
            seed=seed,
            seeds=seeds,
            negative=negative,
            init=init,
            strength=strength,
        )
        check_strength(inputs, strength)
        check_texts(self, inputs)
        note_unread(self, inputs)
        with Meter("samples", len(inputs.seeds)) if progress else nullcontext() as meter:
            batches = sampling.pictures(
                self,
                inputs,
                batch=batch,
                size=size,
                sampler=sampler,
                steps=steps,
                guidance=guidance,
                watch=callback,
                meter=None if meter is None else meter.update,
            )
            return Pictures(picture for pictures in batches for picture in pictures)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part} {name} ({parameters})" for part, name, parameters in self._about())
        return f"<ldmkit system '{self.recipe.name}' on {self.device}: {parts}>"

    def _repr_html_(self) -> str:
        cells = ["".join(f"<td>{html.escape(text)}</td>" for text in row) for row in self._about()]
        rows = "".join(f"<tr>{row}</tr>" for row in cells)
        head = "<tr><th>part</th><th>component</th><th>parameters</th></tr>"
        return f"<b>{html.escape(self.recipe.name)}</b> on {self.device}<table>{head}{rows}</table>"

    def _about(self) -> Iterator[tuple[str, str, str]]:
        """Part, component and number of parameters."""
        for one in counts(self):
            yield one.part, one.component, f"{one.parameters:,}"


def assemble(recipe: Recipe, registry: Registry) -> System:
    """The untrained system of a resolved recipe; sizes are derived from neighbours.

    Raises UserError for components that do not fit each other, and for models that memory cannot hold.
    """
    with bounded(recipe.name):
        return _assembled(recipe, registry)


def _assembled(recipe: Recipe, registry: Registry) -> System:
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
    denoiser = denoiser_of(recipe, registry, latent, conditioners, objective)
    return System(recipe, registry, compression, conditioners, denoiser, schedule, objective)


def denoiser_of(
    recipe: Recipe,
    registry: Registry,
    latent: LatentSpec,
    conditioners: Mapping[str, Conditioner],
    objective: Objective,
) -> Denoiser | None:
    """The recipe's untrained denoiser beside those neighbours; None where the recipe has none."""
    if recipe.denoiser is None:
        return None
    denoiser: Denoiser = build_component(
        registry,
        "denoiser",
        recipe.denoiser,
        latent=latent,
        conditions=joining.merged_spec({name: c.spec for name, c in conditioners.items()}),
        out_channels=_out_channels(objective, latent.channels, recipe),
    )
    return denoiser


def _check_objective(objective: Objective, schedule: NoiseSchedule, recipe: Recipe) -> None:
    try:
        objective.check(schedule)
    except ValueError as error:
        raise UserError(f"objective ({recipe.objective.name}): {error}") from error


def _out_channels(objective: Objective, latent_channels: int, recipe: Recipe) -> int:
    channels = objective.out_channels(latent_channels)
    if not is_whole(channels) or channels < 1:
        raise component_error(
            "objective", recipe.objective, f"out_channels gives {channels!r}, no whole number above 0"
        )
    return channels
