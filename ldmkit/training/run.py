"""`train_stage`: a stage of a recipe from its data to finished weights."""

from __future__ import annotations

from pathlib import Path

import torch

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.partial import read_whole
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.kept_encoder import keep_encoder, keeps_encoder
from ldmkit.engine.reuse import use_weights
from ldmkit.engine.system import System, assemble
from ldmkit.engine.weights import (
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
from ldmkit.recipe.stages import StageName
from ldmkit.training.compression import CompressionStage
from ldmkit.training.data_report import report_data
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.distilling import check_teacher
from ldmkit.training.draws import seed_of
from ldmkit.training.session import Session
from ldmkit.training.stage import TrainingStage
from ldmkit.types import Say


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

    It goes on from the latest checkpoint under `runs`; `restart` discards what is there. A recipe with
    `weights:` starts from them. The diffusion stage uses the compression model of `system`. One process (or
    group of a launcher) trains a stage at a time: another one gets a UserError that names it, or waits with
    `wait`. A training whose data or compression weights have changed since it began goes on only with
    `accept`. On SIGTERM or Ctrl-C it saves at the step's end and raises Interrupted (exit code 143 or 130).

    Raises UserError for a recipe without data or that stage's settings, for a batch that does not divide
    among the processes, and where a loss is not finite.
    """
    store = RunStore(stage_folder(system.recipe, system.registry, stage, runs), stage)
    session = Session.of(system, stage, stage, store, restart=restart, accept=accept, say=say)
    with session.alone(wait):
        if store.finished:
            use_weights(system, stage, store.weights, runs, say=session.say, data=True, accept=accept)
            session.say(f"{stage}: finished already, {store.weights}")
        else:
            _train(session, stage)


def _train(session: Session, stage: StageName) -> None:
    """Trains the stage by all processes, once this training alone has the folder."""
    system, store, say = session.system, session.store, session.say
    data, origin = session.open(system.dataset)
    store.about = {"recipe": system.recipe.name, "stage": stage, **origin.about()}
    start = _initialize(system, stage)
    if start is not None and not store.steps():
        say(f"{stage}: {start}")
    system.to(session.accelerator.device)
    with session.accelerator.local_main_process_first():  # which looks at files that the others then know
        for line in report_data(system):
            say(line)
    session.run(_stage(session, stage, data), origin)
    system.weights[stage], system.trained_on = Sums(store.folder.parent).of(store.weights), origin.data


def _initialize(system: System, stage: StageName) -> str | None:
    """Gives the stage its initial weights: the recipe's, with a line about them, else new ones from its
    seed."""
    path = initial_weights(system.recipe, system.registry, stage)
    if stage == "diffusion":
        check_teacher(system.recipe.train.diffusion, path)
    alone = keeps_encoder(system.recipe, stage)
    if alone and path is None:
        raise UserError("train.compression.only keeps a trained model's encoder: name the model in `weights`")
    if path is not None and not widens(system.recipe, stage) and not alone:
        _load_all(system, stage, path)
        return f"starts from {path}"
    options = getattr(system.recipe.train, stage)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed_of(options.seed if options else 0, stage, "weights"))
        new = assemble(system.recipe, system.registry)
    restore(stage_state(system, stage), stage_state(new, stage), stage)
    if path is None:
        return None
    tensors = read_whole(path)
    return (
        keep_encoder(system, tensors, str(path))
        if alone
        else widen(stage_state(system, stage), tensors, str(path))
    )


def _load_all(system: System, stage: StageName, path: Path) -> None:
    """Loads weights that must fit exactly; the error names `widen`, which takes those that fit."""
    try:
        load_stage(system, stage, path)
    except UserError as error:
        if stage == "compression":
            raise
        raise UserError(
            f"{error}; to start from a model with other conditions: train.diffusion.widen=true"
        ) from error


def _stage(session: Session, stage: StageName, data: Dataset) -> TrainingStage:
    """The stage as the loop wants it."""
    system, options, (cache, older) = session.system, session.system.recipe.train, session.caches
    if stage == "compression" and options.compression is not None:
        torch.manual_seed(seed_of(options.compression.seed, "adversary"))
        return CompressionStage(system, options.compression, data)
    if stage == "diffusion" and options.diffusion is not None:
        return DiffusionStage(system, options.diffusion, data, cache, session.say, older)
    raise UserError(f"recipe '{system.recipe.name}' says nothing of how to train it: add train.{stage}")
