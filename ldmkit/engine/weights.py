"""Where a system's weights come from: what the recipe names, what was trained here, what a plugin ships.

A weights folder holds a file a stage, `compression.safetensors` and `diffusion.safetensors`, whose keys are
those of `checkpoint.stage_state`. float16 files serve float32 models.
"""

from __future__ import annotations

from pathlib import Path

from ldmkit.artifacts import check_sha256, packaged_file
from ldmkit.checkpoint import RunStore
from ldmkit.engine.stage_state import StageName, load_stage, restore, stage_state
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe import Hub, Recipe, digest

__all__ = [
    "StageName",
    "find_weights",
    "initial_weights",
    "load_stage",
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
    if getattr(recipe.train, stage) is None and recipe.weights is not None:
        return initial_weights(recipe, stage)
    return shipped(registry, stage_name(recipe, stage))


def initial_weights(recipe: Recipe, stage: StageName) -> Path | None:
    """The file of a stage in the recipe's `weights`: what it is, or what its fine-tuning starts from.

    None where the recipe names no weights, or only those of the other stage. Raises UserError for a folder
    that is not there or holds no weights.
    """
    if recipe.weights is None:
        return None
    folder = weights_folder(recipe)
    path = folder / f"{stage}.safetensors"
    if path.is_file():
        return path
    if not folder.is_dir():
        raise UserError(f"weights: no folder {folder}")
    names = [f"{name}.safetensors" for name in stages_of(recipe)]
    if not any((folder / name).is_file() for name in names):
        raise UserError(f"weights: no {' or '.join(names)} in {folder}")
    return None


def weights_folder(recipe: Recipe) -> Path:
    """The folder that the recipe's `weights` name, downloaded where they are on the hub."""
    if isinstance(recipe.weights, Hub):
        return _downloaded(recipe.weights)
    folder = Path(recipe.weights or ".")
    return folder if recipe.origin is None else recipe.origin.parent / folder


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
    path = packaged_file(package, inside)
    if path is None:
        raise UserError(f"weights '{name}' of {entry.distribution}: {inside} is missing; reinstall it")
    check_sha256(path, recorded, f"reinstall it (weights '{name}' of {entry.distribution})")
    return path
