"""Where a system's weights come from: what the recipe names, what was trained here, what a plugin ships.

A weights folder holds a file a stage, `compression.safetensors` and `diffusion.safetensors`, whose keys are
those of `checkpoint.stage_state`. float16 files serve float32 models.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from warnings import warn

from ldmkit.checkpoint import RunStore
from ldmkit.checkpoint.files import sha256
from ldmkit.engine.parts import Parts
from ldmkit.engine.stage_state import StageName, load_stage, restore, stage_state
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe import Hub, Recipe, digest

__all__ = [
    "StageName",
    "find_weights",
    "initial_weights",
    "load_stage",
    "load_weights",
    "restore",
    "stage_folder",
    "stage_name",
    "stage_state",
    "stages_of",
]


def stages_of(recipe: Recipe) -> list[StageName]:
    """The stages that a recipe has, in order."""
    return ["compression"] if recipe.denoiser is None else ["compression", "diffusion"]


def stage_name(recipe: Recipe, stage: StageName) -> str:
    """The name of a stage's output: the stage and the digest of what determines it."""
    return f"{stage}-{digest(recipe, stage)[:12]}"


def stage_folder(recipe: Recipe, stage: StageName, runs: Path) -> Path:
    """Where the run of a stage lives."""
    return runs / recipe.name / stage_name(recipe, stage)


def find_weights(recipe: Recipe, registry: Registry, stage: StageName, runs: Path) -> Path | None:
    """The file of a stage that needs no training: trained here, shipped, or named by a recipe that does not
    train the stage further; else None."""
    run = RunStore(stage_folder(recipe, stage, runs), stage)
    if run.finished:
        return run.weights
    if getattr(recipe.train, stage) is None:
        return initial_weights(recipe, stage)
    return shipped(registry, stage_name(recipe, stage))


def initial_weights(recipe: Recipe, stage: StageName) -> Path | None:
    """The file of a stage in the recipe's `weights`: what it is, or what its fine-tuning starts from.

    Raises UserError where the folder lacks it, unless the recipe trains the stage anew.
    """
    if recipe.weights is None:
        return None
    folder = _downloaded(recipe.weights) if isinstance(recipe.weights, Hub) else Path(recipe.weights)
    if not folder.is_absolute() and recipe.origin is not None:
        folder = recipe.origin.parent / folder
    path = folder / f"{stage}.safetensors"
    if path.exists():
        return path
    if getattr(recipe.train, stage) is None:
        raise UserError(f"weights: no {path.name} in {folder}")
    return None


def _downloaded(hub: Hub) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(hub.hub, revision=hub.revision, allow_patterns=["*.safetensors", "*.yaml"]))


def shipped(registry: Registry, name: str) -> Path | None:
    """A shipped weights file by the stage's name, verified; its package is located, never imported.

    Raises UserError where the file is missing or not what its plugin recorded.
    """
    if name not in registry.names("weights"):
        return None
    entry = registry.get("weights", name)
    package, _, rest = entry.target.partition("/")
    inside, _, recorded = rest.partition("#sha256=")
    spec = importlib.util.find_spec(package)
    roots = list(spec.submodule_search_locations or ()) if spec else []
    path = next((Path(r) / inside for r in roots if (Path(r) / inside).exists()), None)
    if path is None:
        raise UserError(f"weights '{name}' of {entry.distribution}: {inside} is missing; reinstall it")
    if sha256(path) != recorded:
        raise UserError(f"weights '{name}' of {entry.distribution}: {path} is damaged; reinstall it")
    return path


def load_weights(system: Parts, runs: Path) -> list[StageName]:
    """Loads every stage's weights that can be found; the stages that were loaded. Warns of the others."""
    loaded = []
    for stage in stages_of(system.recipe):
        path = find_weights(system.recipe, system.registry, stage, runs) or initial_weights(
            system.recipe, stage
        )
        if path is None:
            warn(f"recipe '{system.recipe.name}': no weights for its {stage} stage; train it", stacklevel=3)
        else:
            load_stage(system, stage, path)
            loaded.append(stage)
    return loaded
