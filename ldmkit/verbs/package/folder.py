"""A model as a folder that `ldmkit.build`, the command line and the hub read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldmkit.checkpoint.files import seal, write_tensors
from ldmkit.disk import write_text
from ldmkit.engine.adapters import merged
from ldmkit.engine.stage_state import stage_state
from ldmkit.engine.system import System
from ldmkit.engine.weights import stages_of
from ldmkit.errors import UserError
from ldmkit.recipe import Recipe, dump
from ldmkit.recipe.model import Sample
from ldmkit.recipe.stages import Train
from ldmkit.recipe.yaml import read_file
from ldmkit.types import Say
from ldmkit.verbs.arguments import PictureArguments
from ldmkit.verbs.package.card import write_card
from ldmkit.verbs.run import draws, make_pictures, make_reconstructions, recorded_inputs

RECIPE = "recipe.yaml"
TRAINING = "training.yaml"
"""The recipe that the weights were trained by, with its `train`."""
INPUTS = "inputs"
"""Pictures that the recipe draws from."""
PICTURES = "pictures"


def package(system: System, out: Path, runs: Path, license: str, say: Say) -> None:
    """Writes the new folder `out`: recipe, float16 weights, pictures drawn by them, a card, checksums.

    Adapters become part of the weights, in the system too.

    system: with its weights. runs: where the figures of `ldmkit evaluate` are looked for. license: of the
    weights, as the hub spells it ("mit", "cc-by-4.0"). Raises UserError where `out` exists already.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another folder")
    out.mkdir(parents=True)
    try:
        _write(system, out, runs, license, say)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _write(system: System, out: Path, runs: Path, license: str, say: Say) -> None:
    write_text(out / TRAINING, dump(system.recipe))
    for line in merged(system):
        say(line)
    system.recipe = system.recipe.model_copy(update={"adapters": {}})
    for stage in stages_of(system.recipe):
        tensors = {name: _half(name, tensor) for name, tensor in stage_state(system, stage).items()}
        if tensors:
            write_tensors(out / f"{stage}.safetensors", tensors)
    recipe = _moved(system.recipe, out)
    write_text(out / RECIPE, dump(recipe))
    if draws(system):
        make_pictures(system, recorded_inputs(system, PictureArguments()), out / PICTURES, say)
    else:
        make_reconstructions(system, out / PICTURES, say)
    write_card(system, recipe, out, runs, license)
    seal(out)


def _moved(recipe: Recipe, out: Path) -> Recipe:
    """The recipe as it stands in the folder: without trainings, with weights and pictures beside it."""
    inputs = recipe.sample.fields.items()
    fields = {name: [_copied(recipe, one, out) for one in _all(value)] for name, value in inputs}
    init = recipe.sample.init and _copied(recipe, recipe.sample.init, out)
    sample: Sample = recipe.sample.model_copy(update={"fields": fields, "init": init})
    return recipe.model_copy(update={"train": Train(), "weights": ".", "sample": sample})


def _all(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _copied(recipe: Recipe, value: Any, out: Path) -> Any:
    """Copies a file that a value names into the folder, under its own name."""
    if not isinstance(value, str) or not recipe.located(value).is_file():
        return value
    source, folder = recipe.located(value), out / INPUTS
    folder.mkdir(exist_ok=True)
    shutil.copyfile(source, folder / source.name)
    return f"{INPUTS}/{source.name}"


def _half(name: str, tensor: Tensor) -> Tensor:
    """float16, but for the few numbers that scale every latent."""
    tensor = tensor.detach().cpu().contiguous()
    exact = name.endswith((".scale", ".shift")) or tensor.dtype != torch.float32
    return tensor if exact else tensor.half()


def recipe_in(folder: Path) -> Mapping[str, Any]:
    """The values of a package's recipe; UserError for a folder that is none."""
    if not (folder / RECIPE).is_file():
        raise UserError(f"{folder}: holds no {RECIPE}; `ldmkit package` writes such a folder")
    values: Mapping[str, Any] = read_file(folder / RECIPE)[0]
    return values
