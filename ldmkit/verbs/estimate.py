"""What a training will take: pictures, bytes and hours, measured on a few batches."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import nn

from ldmkit.checkpoint.store import KEPT
from ldmkit.disk import size
from ldmkit.engine.data import buckets_of, drawn_of, view
from ldmkit.engine.opening import assembled
from ldmkit.engine.system import System
from ldmkit.engine.weights import StageName, find_weights
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.training.compression import CompressionStage
from ldmkit.training.data import Examples
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.latents import latent_moments
from ldmkit.training.look import report_data
from ldmkit.training.progress import duration
from ldmkit.training.stage import TrainingStage
from ldmkit.training.states import cacheable, measured
from ldmkit.types import Say
from ldmkit.verbs.check import trained_by

MEASURED = 32
"""Pictures that are encoded."""
STEPS = 3
"""Training steps that are taken; the first, which is slower, is not counted."""


@dataclass(frozen=True)
class First:
    """The first examples of a split's first shape, as a data set."""

    of: Dataset
    count: int

    @property
    def fields(self) -> tuple[str, ...]:
        """Those of the whole."""
        return self.of.fields

    @property
    def digest(self) -> str:
        """Of the whole and the number of examples."""
        return f"{self.of.digest} {self.count}"

    @property
    def skipped(self) -> Sequence[Path]:
        """Those of the whole."""
        return self.of.skipped

    @property
    def drawn(self) -> Collection[str]:
        """Those of the whole."""
        return drawn_of(self.of)

    def __len__(self) -> int:
        return min(self.count, len(buckets_of(self.of)[0]))

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.view(index)

    def view(
        self, index: int, fields: Collection[str] | None = None, key: int | None = None
    ) -> Mapping[str, Any]:
        """An example, as the whole shows it."""
        return view(self.of, buckets_of(self.of)[0][index], fields, key)

    def split(self, name: str) -> First:
        """The first examples of a split of the whole."""
        return First(self.of.split(name), self.count)


def estimate(
    source: str | Path,
    overrides: Sequence[str],
    runs: Path,
    stage: StageName | None,
    device: str | None,
    say: Say,
) -> None:
    """Says what each stage that would be trained takes; trains nothing and leaves nothing on the disk."""
    system = assembled(source, overrides, device)
    stages = [name for name in trained_by(system.recipe) if stage in (None, name)]
    if not stages:
        raise UserError(
            f"recipe '{system.recipe.name}' trains {stage or 'nothing'}: there is nothing to tell"
        )
    for line in report_data(system):
        say(line)
    seconds = 0.0
    for name in stages:
        if find_weights(system.recipe, system.registry, name, runs) is not None:
            say(f"{name}: has its weights already")
            continue
        for line, took in _stage(system, name):
            say(f"{line}, about {duration(took)}")
            seconds += took
    say(f"together about {duration(seconds)} on one process like this one")


def _stage(system: System, name: StageName) -> Iterator[tuple[str, float]]:
    """What is done for a stage, with its seconds."""
    options = getattr(system.recipe.train, name)
    if name == "diffusion":
        for split, flip in (("train", options.flip), ("validation", False)):
            yield from _cached(system, system.dataset().split(split), split, flip)
    each, kept = _step(system, name)
    checkpoints = f"checkpoints of {size(kept)}"
    yield f"{name}: {options.steps} steps of {options.batch} pictures, {checkpoints}", each * options.steps


def _cached(system: System, data: Dataset, split: str, flip: bool) -> Iterator[tuple[str, float]]:
    """Latents and text states of a split."""
    indices = buckets_of(data)[0][:MEASURED]
    began = time.perf_counter()
    examples = Examples(data, ["image"], memory=0)
    moments = latent_moments(system.compression, examples, flip, indices)
    share = len(data) / len(indices)
    room = sum(x.nbytes for x in moments.values()) * share
    seconds = (time.perf_counter() - began) * share
    yield f"latents ({split}): {len(data)} pictures, {size(room)}", seconds
    for name, conditioner in system.named_conditioners():
        fields = conditioner.spec.fields
        texts = Examples(data, fields)
        fixed = not drawn_of(data) & {*fields}
        if fixed and cacheable(cast(nn.Module, conditioner), texts[0], fields):
            count, room, seconds = measured(conditioner, texts, system.device)
            yield f"states of {name} ({split}): {count} inputs, {size(room)}", seconds


def _step(system: System, name: StageName) -> tuple[float, int]:
    """Seconds of a training step, and bytes of the checkpoints that are kept."""
    options = getattr(system.recipe.train, name)
    data = First(system.dataset(), max(MEASURED, options.batch // options.accumulate))
    with TemporaryDirectory() as folder:
        stage: TrainingStage = (
            CompressionStage(system, options, data)
            if name == "compression"
            else DiffusionStage(system, options, data, Path(folder))
        )
        seconds = [_timed(stage, options.steps - 1 - i) for i in range(STEPS)]
    model = sum(x.nbytes for x in stage.state().values())
    learned = sum(p.nbytes for player in stage.players for p in player.parameters.values())
    average = learned if options.ema is not None else 0
    return min(seconds[1:]), KEPT * (model + 2 * learned + average)


def _timed(stage: TrainingStage, step: int) -> float:
    """One update of every player, as the loop makes it."""
    began = time.perf_counter()
    options = stage.options
    size_of_pass = max(1, options.batch // options.accumulate)
    for start in range(0, options.batch, size_of_pass):
        batch, draws = stage.batch(step, slice(start, min(start + size_of_pass, options.batch)))
        for player in stage.players:
            if player.trains(step):
                losses, handed = player.step(batch, draws)
                losses["loss"].backward()
                batch = {**batch, **handed}
    for player in stage.players:
        player.optimizer.step()
        player.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
