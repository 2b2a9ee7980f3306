"""Stage two: the denoiser and tau_theta, jointly, on cached latents (the paper, equations 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn

from ldmkit.engine import sampling
from ldmkit.engine.requests import inputs_of
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_state
from ldmkit.interfaces import Dataset
from ldmkit.pictures.png import grid
from ldmkit.recipe.model import DiffusionTraining
from ldmkit.training.auxiliary import Auxiliaries, named_losses
from ldmkit.training.data import Examples, images_of
from ldmkit.training.diffusion_step import DiffusionStep
from ldmkit.training.distilling import step_of
from ldmkit.training.draws import Order, generator_of, seed_of
from ldmkit.training.optim import check_parts, optimizer_of
from ldmkit.training.split import Draws, Split
from ldmkit.training.stage import Player

VALIDATED = 512
"""Validation pictures that each validation looks at, at most."""
SHOWN = 8
"""Validation examples whose conditions a grid shows where the recipe has no inputs of its own."""


class DiffusionStage:
    """Stage two as the loop sees it. The compression model is finished and frozen."""

    name: str = "diffusion"

    def __init__(self, system: System, options: DiffusionTraining, data: Dataset, cache: Path) -> None:
        self.options, self._system, self._device = options, system, system.device
        system.compression.requires_grad_(False).eval()  # type: ignore[attr-defined]
        self._train = Split(system, data.split("train"), cache, options.flip)
        self._validation = Split(system, data.split("validation"), cache, False)
        self._order = Order(len(self._train), options.seed, self.name)
        self._drawn = lru_cache(maxsize=1)(lambda step: self._draw(options.batch, step, options.flip))
        self._pictures = Examples(data.split("train"), ["image"]) if options.auxiliary else None
        self._step = self._prepared()
        self.players = [Player("denoiser", self._step, options, make=optimizer_of(system.registry, options))]
        check_parts(options, list(self.players[0].parameters))

    def _prepared(self) -> DiffusionStep:
        """The TrainingStep. One pass of one picture gives lazy modules of auxiliary losses their shapes."""
        if not self.options.auxiliary:
            return step_of(self._system, self.options)
        denoiser: Any = self._system.network
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed_of(self.options.seed, self.name, "auxiliary"))
            losses = named_losses(self._system.registry, self.options.auxiliary)
            step = step_of(self._system, self.options, Auxiliaries(losses, denoiser).to(self._device)).eval()
            step(*self.batch(0, slice(0, 1)))
        return step

    def averaged(self) -> dict[str, nn.Parameter]:
        """The denoiser's and the conditioners' weights (the published code forgets the latter)."""
        named = self.players[0].parameters
        return {n: p for n, p in named.items() if not n.startswith("auxiliary.")}

    def weights(self) -> dict[str, Tensor]:
        """The denoiser and the conditioners."""
        return stage_state(self._system, "diffusion")

    def state(self) -> dict[str, Tensor]:
        """The same, and the weights of auxiliary losses."""
        return self.weights() | (self._step.auxiliary.state() if self._step.auxiliary else {})

    def batch(self, step: int, rows: slice) -> tuple[dict[str, Any], Draws]:
        """Latents, conditions and draws for some rows of a step."""
        first = step * self.options.batch
        chosen = self._order.take(first + rows.start, first + rows.stop).tolist()
        draws = self._drawn(step).rows(rows)
        batch, drawn = self._assemble(self._train, chosen, draws, own=False)
        if self._pictures is not None:
            batch["image"] = images_of(self._pictures.read(chosen), draws.flip).to(self._device)
        return batch, drawn

    def _assemble(
        self, split: Split, chosen: Sequence[int], draws: Draws, own: bool
    ) -> tuple[dict[str, Any], Draws]:
        posterior = split.latents.posterior(chosen, draws.flip)
        clean = posterior.sample(draws.latent_noise) if self.options.latents == "sample" else posterior.mode
        conditions = split.conditions(chosen, draws, own, self._device)
        return {"clean": clean.to(self._device), "conditions": conditions}, draws.to(self._device)

    def _draw(self, count: int, step: int | str, flip: bool) -> Draws:
        """The draws of a whole global batch."""
        generator, size = generator_of(self.options.seed, self.name, step), self._train.latents.size
        shape = (count, self._system.compression.latent.channels, *size)
        return Draws(
            t=self._system.schedule.draw(count, generator, size),
            noise=torch.randn(shape, generator=generator),
            latent_noise=torch.randn(shape, generator=generator),
            drop=torch.rand(count, max(len(self._system.conditioners), 1), generator=generator),
            choice=torch.randint(2**31, (count,), generator=generator),
            flip=torch.rand(count, generator=generator) < 0.5 if flip else None,
            key=seed_of(self.options.seed, self.name, step, "conditions"),
        )

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, Tensor]:
        """The loss on validation pictures with their own captions, the same draws every time."""
        self._step.eval()
        count, size = min(len(self._validation), VALIDATED), self.options.batch
        draws = self._draw(count, "validation", False)
        draws = replace(draws, drop=torch.ones_like(draws.drop))
        sums = {key: torch.zeros((), device=self._device) for key in ("loss", "count")}
        for i, start in enumerate(range(0, count, size)):
            if i % world == rank:
                rows = slice(start, min(start + size, count))
                chosen = range(rows.start, rows.stop)
                batch, drawn = self._assemble(self._validation, chosen, draws.rows(rows), own=True)
                sums["loss"] += self._step.per_picture(batch, drawn).sum()
                sums["count"] += len(chosen)
        self._step.train()
        return sums

    def picture(self) -> PIL.Image.Image | None:
        """The recipe's inputs, from its seed; where it has none, the first validation examples'."""
        system = self._system
        inputs, fields = inputs_of(system), sampling.fields_needed(system, sampling.plan(system))
        if not inputs.raw and fields:
            examples = self._validation.examples.read(range(min(SHOWN, len(self._validation))))
            if not all(f in examples[0] for f in fields):
                return None
            raw = {f: [example[f] for example in examples] for f in fields}
            inputs = replace(inputs, raw=raw, seeds=[inputs.seeds[0] + i for i in range(len(examples))])
        self._step.eval()
        pictures = [picture for batch in sampling.pictures(system, inputs) for picture in batch]
        self._step.train()
        return grid(pictures)

    def complete(self) -> None:
        """Nothing: the weights are all there is."""
