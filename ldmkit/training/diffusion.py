"""Stage two: the denoiser and tau_theta, jointly, on cached latents (the paper, equations 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn

from ldmkit.engine import plans, sampling, sizes
from ldmkit.engine.compiling import check_compiler, keep_code
from ldmkit.engine.data import of_one_shape
from ldmkit.engine.requests import inputs_of
from ldmkit.engine.system import System
from ldmkit.engine.weights import stage_state
from ldmkit.interfaces import Dataset
from ldmkit.pictures.png import grid
from ldmkit.recipe.stages import DiffusionTraining
from ldmkit.training.auxiliary import Auxiliaries, named_losses
from ldmkit.training.data import Examples, images_of
from ldmkit.training.diffusion_step import DiffusionStep
from ldmkit.training.distilling import step_of
from ldmkit.training.draws import Batches, generator_of, seed_of
from ldmkit.training.look import check_crop
from ldmkit.training.optim import check_parts, optimizer_of
from ldmkit.training.promises import try_auxiliary, try_optimizer
from ldmkit.training.sharding import shares
from ldmkit.training.split import DiffusionDraws, Split
from ldmkit.training.stage import Learner
from ldmkit.types import Say

VALIDATED = 512
"""Validation pictures that each validation looks at, at most."""
SHOWN = 8
"""Validation examples whose conditions a grid shows where the recipe has no inputs of its own."""


def check_settings(system: System, options: DiffusionTraining) -> None:
    """UserError for settings that the stage could not begin with: its optimizer, auxiliary losses and the
    layers that they read, distillation, the parts of lr_factors.

    Uses neither data nor the system's weights; modules may be on the meta device.
    """
    shares(options)
    make = optimizer_of(system.registry, options)
    if options.optimizer is not None:
        try_optimizer(make, options.optimizer)
    losses = named_losses(system.registry, options.auxiliary)
    step = step_of(system, options, Auxiliaries(losses, system.network) if losses else None)
    size = sizes.known_size(system)
    if step.auxiliary is not None and size is not None and system.device.type == "meta":
        try_auxiliary(system, step.auxiliary, options.auxiliary, size)
    check_parts(options, [name for name, weight in step.named_parameters() if weight.requires_grad])


class DiffusionStage:
    """Stage two as the loop sees it. The compression model is finished and frozen."""

    name: str = "diffusion"

    def __init__(
        self,
        system: System,
        options: DiffusionTraining,
        data: Dataset,
        cache: Path,
        say: Say = lambda _: None,
        older: Path | None = None,
    ) -> None:
        """cache: the folder of latents and text states. older: where earlier versions kept them."""
        self.options, self._system, self._device = options, system, system.device
        system.compression.requires_grad_(False).eval()
        check_crop(options, data)
        self._train = Split(system, data.split("train"), cache, options.flip, say, older)
        self._validation = Split(system, data.split("validation"), cache, False, say, older)
        self._buckets = self._train.examples.buckets
        self._order = Batches([*map(len, self._buckets)], options.batch, options.seed, self.name)
        self._drawn = lru_cache(maxsize=1)(self._draw_step)
        self._pictures = Examples(data.split("train"), ["image"]) if options.auxiliary else None
        self._step = self._prepared()
        if options.compile:
            check_compiler(self._device, "compile")
            keep_code()
            system.get_submodule("denoiser").compile()
        make, every = optimizer_of(system.registry, options), self._step.every_weight
        self.learners = [Learner("denoiser", self._step, options, make=make, every_weight=every)]
        check_parts(options, list(self.learners[0].parameters))

    def _prepared(self) -> DiffusionStep:
        """The TrainingStep, after one pass of one picture in which lazy modules of auxiliary losses get
        shapes."""
        if not self.options.auxiliary:
            return step_of(self._system, self.options)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed_of(self.options.seed, self.name, "auxiliary"))
            losses = named_losses(self._system.registry, self.options.auxiliary)
            step = step_of(
                self._system, self.options, Auxiliaries(losses, self._system.network).to(self._device)
            ).eval()
            step(*self.batch(0, slice(0, 1)))
        return step

    def averaged(self) -> dict[str, nn.Parameter]:
        """The denoiser's and the conditioners' weights (the published code forgets the latter)."""
        named = self.learners[0].parameters
        return {n: p for n, p in named.items() if not n.startswith("auxiliary.")}

    def weights(self) -> dict[str, Tensor]:
        """The denoiser and the conditioners."""
        return stage_state(self._system, "diffusion")

    def state(self) -> dict[str, Tensor]:
        """The denoiser, the conditioners and the weights of auxiliary losses."""
        return self.weights() | (self._step.auxiliary.state() if self._step.auxiliary else {})

    def batch(self, step: int, rows: slice) -> tuple[dict[str, Any], DiffusionDraws]:
        """Latents, conditions and draws for some rows of a step."""
        bucket = self._buckets[self._order.bucket(step)]
        chosen = [bucket[place] for place in self._order.places(step, rows)]
        draws = self._drawn(step).rows(rows)
        batch, drawn = self._assemble(self._train, chosen, draws, own=False)
        if self._pictures is not None:
            batch["image"] = images_of(self._pictures.read(chosen), draws.flip).to(self._device)
        return batch, drawn

    def _assemble(
        self, split: Split, chosen: Sequence[int], draws: DiffusionDraws, own: bool
    ) -> tuple[dict[str, Any], DiffusionDraws]:
        posterior, inputs = split.read(chosen, draws, own, self._device)
        clean = posterior.sample(draws.latent_noise) if self.options.latents == "sample" else posterior.mode
        return {"clean": clean.to(self._device), "conditions": inputs}, draws.to(self._device)

    def _draw_step(self, step: int) -> DiffusionDraws:
        """The draws of a whole global batch."""
        size = self._train.latents.size(self._order.bucket(step))
        return self._draw(self.options.batch, step, self.options.flip, size)

    def _draw(self, count: int, step: int | str, flip: bool, size: tuple[int, int]) -> DiffusionDraws:
        """The draws of some pictures with latents of that size."""
        generator = generator_of(self.options.seed, self.name, step)
        shape = (count, self._system.compression.latent.channels, *size)
        return DiffusionDraws(
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
        sums = {key: torch.zeros((), device=self._device) for key in ("loss", "count")}
        for i, (chosen, draws) in enumerate(self._validated()):
            if i % world == rank:
                batch, drawn = self._assemble(self._validation, chosen, draws, own=True)
                sums["loss"] += self._step.per_picture(batch, drawn).sum()
                sums["count"] += len(chosen)
        self._step.train()
        return sums

    def _validated(self) -> Iterator[tuple[Sequence[int], DiffusionDraws]]:
        """The batches of a validation, each of one shape, with their draws; nothing is dropped."""
        count, buckets = min(len(self._validation), VALIDATED), self._validation.examples.buckets
        for number, group in enumerate(of_one_shape(range(count), buckets)):
            name = "validation" if number == 0 else f"validation {number}"
            size = self._validation.latents.size_of(group[0])
            draws = self._draw(len(group), name, False, size)
            draws = replace(draws, drop=torch.ones_like(draws.drop))
            for start in range(0, len(group), self.options.batch):
                rows = slice(start, min(start + self.options.batch, len(group)))
                yield group[rows], draws.rows(rows)

    def picture(self) -> PIL.Image.Image | None:
        """The recipe's inputs, from its seed; where it has none, the first validation examples'."""
        system = self._system
        inputs, fields = inputs_of(system), plans.fields_needed(system, plans.plan(system))
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
        """Nothing is left to do after the last step."""
