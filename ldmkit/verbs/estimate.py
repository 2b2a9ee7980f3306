"""What a training will take: pictures, bytes and hours, measured on a few batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.store import KEPT
from ldmkit.disk import size
from ldmkit.engine.adapters import adapter_data, adapter_run, attach, find_adapter
from ldmkit.engine.continuing import foretold
from ldmkit.engine.data import buckets_of, drawn_of, view
from ldmkit.engine.opening import assembled
from ldmkit.engine.system import System
from ldmkit.engine.weights import find_weights, stage_folder
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.recipe.digests import ADAPTERS
from ldmkit.recipe.stages import DiffusionTraining, StageName, TrainingSettings
from ldmkit.training.adapter import AdapterStage
from ldmkit.training.compression import CompressionStage
from ldmkit.training.data import Examples
from ldmkit.training.data_report import report_data
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.encoded_conditions import cacheable, measured
from ldmkit.training.latents import latent_moments
from ldmkit.training.progress import duration
from ldmkit.training.stage import TrainingStage
from ldmkit.types import Say
from ldmkit.verbs.stages import begun_anew, named_stages, trained_adapters, trained_by

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
        """The fields of the whole data set."""
        return self.of.fields

    @property
    def digest(self) -> str:
        """A digest of the whole data set and the number of examples."""
        return f"{self.of.digest} {self.count}"

    @property
    def skipped(self) -> Sequence[Path]:
        """The broken files of the whole data set."""
        return self.of.skipped

    @property
    def drawn(self) -> Collection[str]:
        """The fields that the whole data set draws at random."""
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
    stage: str | None,
    device: str | None,
    say: Say,
    *,
    restart: bool = False,
) -> None:
    """Says what each stage and adapter that would be trained takes; trains nothing and leaves nothing on the
    disk.

    stage: one of them by its name. restart: as if there were no finished and no begun training of them.
    """
    system = assembled(source, overrides, device)
    named, adapters = named_stages(system.recipe, stage)
    stages = [name for name in trained_by(system.recipe) if name in named and stage in (None, name)]
    adapters = trained_adapters(system.recipe, adapters)
    if not stages and not adapters:
        raise UserError(
            f"recipe '{system.recipe.name}' trains {stage or 'nothing'}: there is nothing to tell"
        )
    anew = [*begun_anew(system.recipe, adapters), *adapters] if restart else []
    for line in report_data(system) if stages else ():
        say(line)
    seconds = 0.0
    for name in [*stages, *adapters]:
        for line, took in _work(system, name, None if name in anew else runs):
            say(f"{line}, about {duration(took)}" if took else line)
            seconds += took
    say(f"together about {duration(seconds)} on one process like this one")


def _work(system: System, name: str, runs: Path | None) -> Iterator[tuple[str, float]]:
    """The work of training a stage or an adapter, with its seconds; without `runs`, from its beginning."""
    if runs is None:
        yield from (_adapter if name in system.recipe.adapters else _stage)(system, name)
        return
    if name in system.recipe.adapters:
        known = f"{ADAPTERS}{name}"
        path, store = find_adapter(system, name, runs), adapter_run(system, name, runs)
        work = _adapter(system, name)
    else:
        stage = known = cast(StageName, name)  # what is no adapter is a stage
        path = find_weights(system.recipe, system.registry, stage, runs)
        store = RunStore(stage_folder(system.recipe, system.registry, stage, runs), stage)
        work = _stage(system, stage)
    if path is None and (name not in system.recipe.adapters or system.recipe.adapters[name].train):
        yield from ((line, 0.0) for line in foretold(system.recipe, system.registry, known, store))
    yield from [(f"{name}: has its weights already", 0.0)] if path is not None else work


def _stage(system: System, name: str) -> Iterator[tuple[str, float]]:
    """The work of training a stage, with its seconds."""
    options, data = getattr(system.recipe.train, name), system.dataset()
    if name == "compression":
        yield _steps(name, options, data, lambda first, _: CompressionStage(system, options, first))
        return
    yield from _latents(system, data, options)
    yield _steps(name, options, data, lambda first, cache: DiffusionStage(system, options, first, cache))


def _adapter(system: System, name: str) -> Iterator[tuple[str, float]]:
    """The work of training an adapter, with its seconds."""
    options = system.recipe.adapters[name].train
    assert options is not None
    data = adapter_data(system, options)
    attach(system, name)
    yield from _latents(system, data, options)
    yield _steps(name, options, data, lambda first, cache: AdapterStage(system, name, options, first, cache))


def _latents(system: System, data: Dataset, options: DiffusionTraining) -> Iterator[tuple[str, float]]:
    """Latents and text states of both splits."""
    for split, flip in (("train", options.flip), ("validation", False)):
        yield from _cached(system, data.split(split), split, flip)


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
        if fixed and cacheable(conditioner, texts[0], fields):
            count, room, seconds = measured(conditioner, texts, system.device)
            yield f"states of {name} ({split}): {count} inputs, {size(room)}", seconds


def _steps(
    name: str, options: TrainingSettings, data: Dataset, make: Callable[[Dataset, Path], TrainingStage]
) -> tuple[str, float]:
    """The training steps, with their seconds; make: the stage on a data set, with a folder for caches."""
    first = First(data, max(MEASURED, options.batch // options.accumulate))
    with TemporaryDirectory() as folder:
        stage = make(first, Path(folder))
        seconds = [_timed(stage, options.steps - 1 - i) for i in range(STEPS)]
    model = sum(x.nbytes for x in stage.state().values())
    learned = sum(p.nbytes for learner in stage.learners for p in learner.parameters.values())
    average = learned if options.ema is not None else 0
    kept = size(KEPT * (model + 2 * learned + average))
    line = f"{name}: {options.steps} steps of {options.batch} pictures, checkpoints of {kept}"
    return line, min(seconds[1:]) * options.steps


def _timed(stage: TrainingStage, step: int) -> float:
    """One update of every learner, as the loop makes it."""
    began = time.perf_counter()
    options = stage.options
    size_of_pass = max(1, options.batch // options.accumulate)
    for start in range(0, options.batch, size_of_pass):
        batch, draws = stage.batch(step, slice(start, min(start + size_of_pass, options.batch)))
        for learner in stage.learners:
            if learner.trains(step):
                losses, handed = learner.step(batch, draws)
                losses["loss"].backward()
                batch = {**batch, **handed}
    for learner in stage.learners:
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
