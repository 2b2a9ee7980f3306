"""Opens a recipe: loads, resolves and assembles it on a device, with the weights of each stage.

Every verb goes this way from a recipe to a system. They differ in what happens to a stage without weights: it
is trained, refused, or keeps its initial weights with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from warnings import warn

import torch

from ldmkit.checkpoint.partial import read_whole
from ldmkit.engine.adapters import give_adapters, refuse_adapter, warn_of_adapter
from ldmkit.engine.kept_encoder import keep_encoder, keeps_encoder
from ldmkit.engine.reuse import use_weights
from ldmkit.engine.running import Running
from ldmkit.engine.sample_decoder import decoder_file, give_decoder
from ldmkit.engine.stage_state import load_stage, stage_state, widen
from ldmkit.engine.system import System, assemble
from ldmkit.engine.weights import downloaded, find_weights, initial_weights, stages_of, widens
from ldmkit.errors import Note, UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import Recipe, load, resolve
from ldmkit.recipe.stages import StageName
from ldmkit.types import Say

Source = str | Path | Mapping[str, Any] | Recipe
"""A recipe: the path of its file, its values, or a Recipe."""
Without = Callable[[System, StageName], None]
"""Called for a stage that has no weights."""


def open_recipe(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    runs: Path = Path("runs"),
    device: str | torch.device | None = None,
    say: Say = print,
    data: bool = True,
) -> System:
    """The system of a recipe in eval mode with all of its weights; UserError where a stage has none.

    data: whether to report data that have changed since a stage was trained on them.
    """
    return opened(assembled(source, overrides, device), runs=runs, say=say, data=data)


def opened(system: System, *, runs: Path, say: Say, data: bool = True) -> System:
    """An assembled system with all of its weights, as `open_recipe` gives it."""
    data = data and system.recipe.data is not None
    give_weights(system, runs, without=refuse, say=say, data=data)
    give_adapters(system, runs, without=refuse_adapter, say=say, data=data)
    return running_as_asked(system, say)


def build(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    runs: str | Path = "runs",
    device: str | torch.device | None = "cpu",
) -> System:
    """The system of a recipe in eval mode with its weights.

    Those are what a finished training under `runs` left; else what an installed plugin ships for exactly this
    recipe; else what `weights:` names. A stage that has none keeps its initial weights, with a warning.
    Raises UserError for a recipe or weights that do not fit.

    Args:
        source: the path of a recipe's file, its values as a mapping, or a Recipe.
        overrides: changes of single values, as "sampler.steps=20".
        runs: folder of trainings.
        device: where the system is to be; None chooses the accelerator where there is one.
    """
    system = assembled(source, overrides, device)
    give_weights(system, Path(runs), without=_start, say=_nothing)
    give_adapters(system, Path(runs), without=warn_of_adapter, say=_nothing)
    return running_as_asked(system, _nothing)


def running_as_asked(system: System, say: Say) -> System:
    """A system with weights in eval mode, run and decoded as the recipe's `sample` section says."""
    sample = system.recipe.sample
    give_decoder(system)
    system.running = Running(sample.precision, sample.compile, say)
    return system.eval()


def assembled(
    source: Source, overrides: Sequence[str] = (), device: str | torch.device | None = None
) -> System:
    """The system of a recipe on its device, without weights. UserError for a decoder that is not there, so
    that no training comes before it."""
    registry = host().registry
    chosen = choose_device(device)
    recipe = resolve(load(source, overrides, registry, downloaded), registry)
    decoder_file(recipe, registry)
    return assemble(recipe, registry).to(chosen).eval()


def give_weights(
    system: System,
    runs: Path,
    *,
    without: Without,
    say: Say,
    stages: Sequence[StageName] | None = None,
    anew: Collection[StageName] = (),
    data: bool = False,
    accept: bool = False,
) -> None:
    """Loads the weights of each stage, in order; calls `without` for a stage that has none.

    stages: by default all. anew: stages whose weights are not looked for. data and accept: see `use_weights`.
    """
    for stage in stages_of(system.recipe) if stages is None else stages:
        path = None if stage in anew else find_weights(system.recipe, system.registry, stage, runs)
        if path is not None:
            use_weights(system, stage, path, runs, say=say, data=data, accept=accept)
            say(f"{stage}: reused {path}")
        elif learns(system, stage):
            without(system, stage)
    system.eval()


def learns(system: System, stage: StageName) -> bool:
    """Whether the stage has trainable weights. A compression model without any, such as the identity, needs
    neither a training nor a file."""
    if stage == "diffusion":
        return True
    return any(p.requires_grad for p in system.get_submodule("compression").parameters())


def refuse(system: System, stage: StageName) -> None:
    """Raises the UserError for a stage without weights."""
    recipe = system.recipe
    trains, lacking = getattr(recipe.train, stage) is not None, ""
    if recipe.weights is not None and initial_weights(recipe, system.registry, stage) is None:
        lacking = f" (there is no {stage}.safetensors in `weights`)"
    elif recipe.weights is not None:
        lacking = f" (`weights` is what train.{stage} starts from; without train.{stage} it is used as it is)"
    way_out = "train it with `ldmkit run`" if trains else f"add train.{stage} or `weights`"
    raise UserError(f"recipe '{recipe.name}' has no weights for its {stage} stage{lacking}: {way_out}")


def _start(system: System, stage: StageName) -> None:
    """Loads the weights that a training would start from; without any, warns and keeps the initial ones."""
    path = initial_weights(system.recipe, system.registry, stage)
    if path is None:
        warn(f"recipe '{system.recipe.name}': no weights for its {stage} stage; train it", stacklevel=4)
    elif keeps_encoder(system.recipe, stage):
        warn(keep_encoder(system, read_whole(path), str(path)), Note, stacklevel=4)
    elif widens(system.recipe, stage):
        warn(widen(stage_state(system, stage), read_whole(path), str(path)), Note, stacklevel=4)
    else:
        load_stage(system, stage, path)


def _nothing(line: str) -> None:
    """A `Say` that keeps silent."""


def choose_device(name: str | torch.device | None) -> torch.device:
    """The device of that name; without one the accelerator that is there (this process's own, under a
    launcher), else the CPU. UserError where there is no such device."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name is None:
        if accelerator is None:
            return torch.device("cpu")
        return torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", "0")))
    there = ["cpu"] if accelerator is None else [accelerator.type, "cpu"]
    try:
        chosen = torch.device(name)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in there:
        raise UserError(f"no device '{name}'; there are: {', '.join(there)}")
    if chosen.type != "cpu" and (chosen.index or 0) >= max(torch.accelerator.device_count(), 1):
        raise UserError(f"no device '{name}': there are {torch.accelerator.device_count()} of {chosen.type}")
    return chosen
