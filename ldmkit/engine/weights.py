"""Where a system's weights come from: what the recipe names, what was trained here, what a plugin ships.

A weights folder holds a file a stage, `compression.safetensors` and `diffusion.safetensors`, whose keys are
those of `checkpoint.stage_state`; what a plugin ships may hold a file an adapter too. float16 files serve
float32 models.
"""

from __future__ import annotations

import json
from pathlib import Path
from warnings import warn

from ldmkit.artifacts import check_sha256, hub_folder, packaged_file
from ldmkit.checkpoint import RunStore, files
from ldmkit.disk import read_text
from ldmkit.engine.stage_state import load_stage, restore, stage_state, widen
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import Hub, Recipe, Shipped, digest, same_stage
from ldmkit.recipe.kept import stage_file
from ldmkit.recipe.stages import StageName
from ldmkit.recipe.yaml import read_file

__all__ = [
    "downloaded",
    "find_weights",
    "initial_weights",
    "load_stage",
    "restore",
    "source_of",
    "stage_folder",
    "stage_state",
    "stages_of",
    "widen",
    "widens",
]


PACKAGED = ("*.safetensors", "*.yaml", files.MANIFEST, "files/*", "inputs/*")
"""The files of a packaged model on the hub that its recipe names; "*" is folders too."""


def stages_of(recipe: Recipe) -> list[StageName]:
    """The stages that a recipe has, in order."""
    return ["compression"] if recipe.denoiser is None else ["compression", "diffusion"]


def stage_folder(recipe: Recipe, registry: Registry, stage: StageName, runs: Path) -> Path:
    """The run folder of a stage: that of a run whose recipe determines the same weights, else a new one.

    A finished run goes before an unfinished one. The folder's name ends in a digest of the recipe's sections
    at the time when it began; what counts is the recipe that it keeps, see `same_stage`.
    """
    return run_folder(recipe, registry, stage, stage, runs)


def run_folder(recipe: Recipe, registry: Registry, stage: str, name: str, runs: Path) -> Path:
    """The same for a stage or an adapter; stage: its name in digests, name: that of its folder and file."""
    new = runs / recipe.name / f"{name}-{digest(recipe, stage)[:12]}"
    if RunStore(new, name).finished:
        return new
    others = [path.parent for path in sorted(new.parent.glob(f"{name}-*/recipe.yaml"), key=_age)]
    same = [f for f in others if f != new and same_stage(f / "recipe.yaml", recipe, stage, registry)]
    finished = [folder for folder in same if RunStore(folder, name).finished]
    return next(iter([*finished, *([new] if new.exists() else []), *same, new]))


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def find_weights(recipe: Recipe, registry: Registry, stage: StageName, runs: Path) -> Path | None:
    """The file of finished weights of a stage, or None.

    They were trained here, or are shipped by a plugin, or are named by a recipe that does not train the
    stage.
    """
    run = RunStore(stage_folder(recipe, registry, stage, runs), stage)
    if run.finished:
        return run.weights
    if getattr(recipe.train, stage) is None and recipe.weights is not None:
        return initial_weights(recipe, registry, stage)
    return shipped(recipe, registry, stage)


def initial_weights(recipe: Recipe, registry: Registry, stage: StageName) -> Path | None:
    """The file of a stage in the `weights` named for it: what it is, or what its fine-tuning starts from.

    A folder holds the file itself, or is one of trainings: then the newest finished one's, and where that
    stood on a first stage that is shipped, this one. None where no weights are named, or the recipe's are
    those of the other stage. Raises UserError for a folder that is not there or holds no weights, for a
    recipe for which no plugin ships any, and where the stage's own `weights` are not of that stage.
    """
    named = source_of(recipe, stage)
    if named is None:
        return None
    path = named_file(named, recipe, registry, stage)
    if path is None and named is not recipe.weights:
        raise UserError(f"train.{stage}.weights: there is no {stage}.safetensors; name a model that has one")
    return path


def named_file(
    named: str | Hub | Shipped, recipe: Recipe, registry: Registry, stage: StageName
) -> Path | None:
    """A stage's file in weights as a recipe names them. UserError as `initial_weights`."""
    if isinstance(named, Shipped):
        return _of_recipe(named.recipe, registry, stage)
    folder = downloaded(named) if isinstance(named, Hub) else recipe.located(named)
    return _in_folder(folder, stage, stages_of(recipe)) or _below(folder, registry, stage)


def source_of(recipe: Recipe, stage: StageName) -> str | Hub | Shipped | None:
    """Where a recipe takes a stage's first weights from: its training's own `weights`, else the recipe's."""
    training = recipe.train.diffusion if stage == "diffusion" else None
    own = training.weights if training is not None else None
    return recipe.weights if own is None else own


def widens(recipe: Recipe, stage: StageName) -> bool:
    """Whether a stage takes what fits of its initial weights; otherwise they must fit exactly."""
    training = recipe.train.diffusion if stage == "diffusion" else None
    return training is not None and training.widen


def _in_folder(folder: Path, stage: StageName, stages: list[StageName]) -> Path | None:
    """A stage's file in a folder of weights; UserError where it holds none of these stages."""
    if not folder.is_dir():
        raise UserError(f"weights: no folder {folder}")
    if not any(stage_file(folder, name) for name in stages):
        names = [f"{name}.safetensors" for name in stages]
        raise UserError(f"weights: no {' or '.join(names)} in {folder}")
    return stage_file(folder, stage)


def _of_recipe(name: str, registry: Registry, stage: StageName) -> Path | None:
    """A stage's file among the weights shipped for a recipe. A model on another recipe's first stage is
    shipped without it: the first stage is then that of the recipe that it names in turn."""
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        entry = _entry(registry, name)
        path, folder = _verified(entry, stage), _located(entry)
        if path is not None or folder is None or stage != "compression":
            return path
        below = _named_in(folder / "recipe.yaml")
        if below is None:
            return None
        name = below
    return None


def _below(folder: Path, registry: Registry, stage: StageName) -> Path | None:
    """The shipped first stage that a training of the second in this folder stood on."""
    trained = stage_file(folder, "diffusion")
    if stage != "compression" or trained is None:
        return None
    name = _named_in(trained.with_name("recipe.yaml"))
    return None if name is None else _of_recipe(name, registry, stage)


def _named_in(path: Path) -> str | None:
    """The recipe whose shipped weights a recipe beside weights names."""
    named = (read_file(path)[0] or {}).get("weights") if path.is_file() else None
    name = named.get("recipe") if isinstance(named, dict) else None
    return name if isinstance(name, str) else None


def _entry(registry: Registry, name: str) -> Entry:
    """The registered weights of that name."""
    names = registry.names("weights")
    if name not in names:
        near, there = did_you_mean(name, names), ", ".join(names) or "none"
        raise UserError(f"weights: no plugin ships weights of recipe '{name}'{near}; there are: {there}")
    return registry.get("weights", name)


def downloaded(hub: Hub) -> Path:
    """The model's folder in the hub's cache, downloaded where it is not there yet. UserError where it cannot
    be."""
    try:
        return hub_folder(hub.hub, hub.revision, PACKAGED)
    except ValueError as error:
        raise UserError(f"weights: {error}") from error


def shipped(recipe: Recipe, registry: Registry, stage: str, name: str | None = None) -> Path | None:
    """The file of a stage, or of an adapter, that a plugin ships with a recipe that determines the same,
    verified, else None. `stage` as digests know it; `name`: as its file is called, if otherwise.

    Plugins register folders that hold `recipe.yaml`, a file a stage and a manifest of checksums; a folder is
    located without importing its package. Raises UserError for a file that is not what the manifest says.
    """
    for entry in registry:
        folder = _located(entry) if entry.kind == "weights" else None
        if folder is None or not same_stage(folder / "recipe.yaml", recipe, stage, registry):
            continue
        path = _verified(entry, name or stage)
        if path is not None:
            return path
    return None


def _verified(entry: Entry, name: str) -> Path | None:
    """The file of a stage or an adapter among registered weights; None where they are of others alone.

    Raises UserError for a file that is not what the manifest says.
    """
    folder = _located(entry)
    if folder is None:
        return None
    path = folder / f"{name}.safetensors"
    recorded = json.loads(read_text(folder / files.MANIFEST)).get(path.name)
    if recorded is None:
        return None
    check_sha256(path, recorded, f"reinstall it (weights '{entry.name}' of {entry.distribution})")
    return path


def _located(entry: Entry) -> Path | None:
    """The folder of registered weights; None, with a warning, where it is not there."""
    package, _, inside = entry.target.partition("/")
    manifest = packaged_file(package, f"{inside}/{files.MANIFEST}")
    if manifest is None:
        warn(f"weights '{entry.name}' of {entry.distribution}: no {entry.target}; reinstall it", stacklevel=2)
    return manifest and manifest.parent
