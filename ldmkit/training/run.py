"""`train_stage`: a stage of a recipe from its data to finished weights."""

from __future__ import annotations

import platform
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator

from ldmkit.checkpoint import RunStore, files
from ldmkit.checkpoint.lock import locked
from ldmkit.checkpoint.origin import Origin, write_contents
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.data import contents_of
from ldmkit.engine.longer import begin
from ldmkit.engine.reuse import origin_of, use_weights
from ldmkit.engine.system import System, assemble
from ldmkit.engine.weights import (
    StageName,
    initial_weights,
    load_stage,
    restore,
    stage_folder,
    stage_state,
    widen,
    widens,
)
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.recipe import digest, dump
from ldmkit.recipe.dump import flat
from ldmkit.training.callbacks import build_callbacks
from ldmkit.training.compression import CompressionStage
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.distilling import check_teacher
from ldmkit.training.draws import seed_of
from ldmkit.training.look import report_data
from ldmkit.training.loop import Loop
from ldmkit.training.stage import TrainingStage
from ldmkit.types import Say

CACHE = "cache"
"""The folder below runs with the latents and text states that trainings share; formerly below each run."""


def train_stage(
    system: System,
    stage: StageName,
    runs: Path,
    *,
    restart: bool = False,
    wait: bool = False,
    accept: bool = False,
    say: Say = print,
) -> None:
    """Trains "compression" or "diffusion" to the end of its steps and leaves finished weights in `system`, on
    whose device it trains.

    It goes on from the latest checkpoint under `runs`; `restart` forgets what is there. A recipe with
    `weights:` starts from them. One process (of a launcher: one group) trains a stage at a time: UserError
    says who does, unless `wait` is set. A training whose data or
    compression weights have changed since it began goes on with `accept` alone. The diffusion stage takes the
    compression model of `system`. On
    SIGTERM or Ctrl-C it saves at the step's end and raises Interrupted (exit code 143 or 130). Raises
    UserError for a recipe without data or that stage's settings, for a batch that does not divide, and where
    a loss is not finite.
    """
    accelerator = accelerator_on(system.device)
    say = say if accelerator.is_main_process else lambda _: None
    store = RunStore(stage_folder(system.recipe, system.registry, stage, runs), stage)
    with locked(store, wait, say) if accelerator.is_main_process else nullcontext():
        accelerator.wait_for_everyone()
        _train(system, stage, store, accelerator, restart, accept, say)
        accelerator.wait_for_everyone()


def _train(
    system: System,
    stage: StageName,
    store: RunStore,
    accelerator: Accelerator,
    restart: bool,
    accept: bool,
    say: Say,
) -> None:
    """The same, by all processes, where this training alone has the folder."""
    if restart and accelerator.is_main_process:
        store.clear()
    accelerator.wait_for_everyone()
    if store.finished:
        use_weights(system, stage, store.weights, store.runs, say=say, data=True, accept=accept)
        say(f"{stage}: finished already, {store.weights}")
        return
    if accelerator.is_main_process and not restart:
        begin(system.recipe, system.registry, stage, store, say)
    accelerator.wait_for_everyone()
    made_by = digest(system.recipe, stage)
    origin = origin_of(system, stage, store, made_by, system.dataset(), accept=accept, say=say)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_origin(system, store, origin, system.dataset())
    accelerator.wait_for_everyone()
    store.about = {"recipe": system.recipe.name, "stage": stage, **origin.about()}
    start = _initialise(system, stage)
    if start is not None and not store.steps():
        say(f"{stage}: {start}")
    system.to(accelerator.device)
    with accelerator.local_main_process_first():  # which looks at the files that the others then know
        data = _data(system, say)
    training = _stage(system, stage, store, data, say)
    slots = system.recipe.train.callbacks if accelerator.is_main_process else ()
    callbacks = build_callbacks(system.registry, slots, say)
    Loop(training, store, accelerator, say, callbacks, flat(system.recipe)).run()
    sums = Sums(store.folder.parent)
    if accelerator.is_main_process:
        replace(origin, weights=sums.remember(store.weights)).write(store.folder)
    accelerator.wait_for_everyone()
    system.weights[stage], system.trained_on = sums.of(store.weights), origin.data


def write_origin(system: System, store: RunStore, origin: Origin, data: Dataset) -> None:
    """The recipe, the versions and what the data hold, in the folder of a training that begins or goes on."""
    store.open(dump(system.recipe), versions(system))
    origin.write(store.folder)
    write_contents(store.folder, contents_of(data))


def accelerator_on(device: torch.device) -> Accelerator:
    """The Accelerator that joins a launcher's processes. UserError where it is configured for fp16."""
    # Without an accelerator a launcher's processes find each other only where the CPU is asked for by name.
    accelerator = Accelerator(cpu=device.type == "cpu")
    if accelerator.mixed_precision == "fp16":
        raise UserError(
            "accelerate is set to fp16, whose loss scaling belongs into checkpoints: set it to no, and "
            "`precision: fp16` in the recipe's training"
        )
    return accelerator


def _initialise(system: System, stage: StageName) -> str | None:
    """Gives the stage the weights of the recipe and tells which in a line, else new ones from its seed."""
    path = initial_weights(system.recipe, system.registry, stage)
    if stage == "diffusion":
        check_teacher(system.recipe.train.diffusion, path)
    if path is not None and not widens(system.recipe, stage):
        _load_all(system, stage, path)
        return f"starts from {path}"
    options = getattr(system.recipe.train, stage)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed_of(options.seed if options else 0, stage, "weights"))
        new = assemble(system.recipe, system.registry)
    restore(stage_state(system, stage), stage_state(new, stage), stage)
    return None if path is None else widen(stage_state(system, stage), files.read_tensors(path), str(path))


def _load_all(system: System, stage: StageName, path: Path) -> None:
    """Loads weights that must fit exactly; tells how to start from those that fit in part."""
    try:
        load_stage(system, stage, path)
    except UserError as error:
        if stage == "compression":
            raise
        raise UserError(
            f"{error}; to start from a model with other conditions: train.diffusion.widen=true"
        ) from error


def _stage(system: System, stage: StageName, store: RunStore, data: Dataset, say: Say) -> TrainingStage:
    """The stage as the loop wants it."""
    options, older = system.recipe.train, store.folder.parent / CACHE
    if stage == "compression" and options.compression is not None:
        torch.manual_seed(seed_of(options.compression.seed, "adversary"))
        return CompressionStage(system, options.compression, data)
    if stage == "diffusion" and options.diffusion is not None:
        return DiffusionStage(system, options.diffusion, data, store.runs / CACHE, say, older)
    raise UserError(f"recipe '{system.recipe.name}' says nothing of how to train it: add train.{stage}")


def _data(system: System, say: Say) -> Dataset:
    """The data set, looked at as a whole; says what it holds and which files it leaves out."""
    for line in report_data(system):
        say(line)
    return system.dataset()


def versions(system: System) -> dict[str, str]:
    """What a run was made with: ldmkit, its plugins, torch, accelerate, Python."""
    plugins = {entry.distribution: entry.version for entry in system.registry}
    libraries = {name: version(name) for name in ("torch", "accelerate", "safetensors")}
    return {"python": platform.python_version(), "ldmkit": version("ldmkit"), **plugins, **libraries}
