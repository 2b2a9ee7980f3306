"""A model as a folder that `ldmkit.build`, the command line and the hub read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldmkit.checkpoint.files import seal, write_tensors
from ldmkit.disk import write_text
from ldmkit.engine.adapters import merged
from ldmkit.engine.opening import assembled, running_as_asked
from ldmkit.engine.stage_state import load_stage, stage_state
from ldmkit.engine.system import System
from ldmkit.engine.weights import stages_of
from ldmkit.errors import UserError
from ldmkit.recipe import Component, Recipe, dump
from ldmkit.recipe.stages import Train
from ldmkit.recipe.yaml import read_file
from ldmkit.types import Say
from ldmkit.verbs.arguments import PictureArguments
from ldmkit.verbs.package.card import figures_of, write_card
from ldmkit.verbs.package.paths import Carried, LeftOut
from ldmkit.verbs.run import draws, make_pictures, make_reconstructions, recorded_inputs

RECIPE = "recipe.yaml"
TRAINING = "training.yaml"
"""The recipe that the weights were trained by, with its `train`."""
PICTURES = "pictures"


def package(system: System, out: Path, runs: Path, license: str, say: Say) -> None:
    """Writes the new folder `out`: recipe, float16 weights, the files that the recipe names by paths (not
    those of data), pictures that the package itself draws, a card, checksums.

    Adapters become part of the weights, in the system too, which ends on the CPU.

    system: with its weights. runs: where the figures of `ldmkit evaluate` are looked for. license: of the
    weights, as the hub spells it ("mit", "cc-by-4.0"). Raises UserError where `out` exists already, and for a
    path whose files cannot be copied; nothing is written then.
    """
    if out.exists():
        raise UserError(f"{out} exists already; choose another folder")
    carried, data = (kind(system.recipe, system.registry) for kind in (Carried, LeftOut))
    training = data.components_of(carried.moved())
    recipe = training.model_copy(update={"train": Train(), "weights": ".", "adapters": {}})
    figures = figures_of(system, runs, say)
    out.mkdir(parents=True)
    try:
        carried.copy(out)
        write_text(out / TRAINING, dump(training))
        packed = _packed(system, recipe, out, say)
        if draws(packed):
            make_pictures(packed, recorded_inputs(packed, PictureArguments()), out / PICTURES, say)
        else:
            make_reconstructions(packed, out / PICTURES, say)
        write_card(system, packed.recipe, out, license, figures, data.files)
        seal(out)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    for place, path in data.files.items():
        say(f"{place}: {path} is not in the package; it draws without, a training from it must set {place}")


def _packed(system: System, recipe: Recipe, out: Path, say: Say) -> System:
    """The system of the package, opened from the recipe and the weights that are written here; its data are
    where the model's are."""
    device = system.device
    for line in merged(system.to("cpu")):
        say(line)
    system.recipe = system.recipe.model_copy(update={"adapters": {}})
    for stage in stages_of(system.recipe):
        tensors = {name: _half(name, tensor) for name, tensor in stage_state(system, stage).items()}
        if tensors:
            write_tensors(out / f"{stage}.safetensors", tensors)
    write_text(out / RECIPE, dump(recipe))
    packed = assembled(out / RECIPE, device=device)
    for stage in stages_of(recipe):
        if (path := out / f"{stage}.safetensors").is_file():
            load_stage(packed, stage, path)
    packed.recipe = packed.recipe.model_copy(update={"data": _read_where_it_is(system.recipe, packed.recipe)})
    packed.trained_on = system.trained_on
    return running_as_asked(packed, say)


def _read_where_it_is(given: Recipe, packed: Recipe) -> Component | None:
    """The package's data, read from where those of the model are."""
    if given.data is None or packed.data is None:
        return None
    checked = replace(given.data.checked, parameters=packed.data.parameters)
    return packed.data.with_checked(checked)


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
