"""`ldmkit import`: a published model becomes a folder that `ldmkit.build` reads."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from ldmkit.artifacts import read_tensors
from ldmkit.checkpoint.files import write_tensors
from ldmkit.engine.system import assemble
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange import compvis, folder
from ldmkit.interchange.compvis_config import STYLE as SINGLE_FILE
from ldmkit.interchange.folders import check_vacant, new_folder
from ldmkit.interchange.model import Published, load_parts
from ldmkit.interchange.reading import read_yaml
from ldmkit.recipe import dump, load, resolve
from ldmkit.types import Say

PICKLES = shutil.ignore_patterns("*.bin", "*.ckpt", "*.pt", "*.pth", "*.h5", "*.msgpack")
"""What is not copied along with a text encoder: weights in formats that are never read."""


def import_model(source: Path, out: Path, config: Path | None, weights: str | None, say: Say) -> Path:
    """Reads `source` (a single file with its `config`, or a Hugging Face folder) and writes `out/recipe.yaml`
    and the weights; the recipe's path.

    Every key is accounted for. Raises UserError, and writes nothing, for a file that is damaged or holds
    more than tensors, for a configuration that is unknown or does not fit, and where `out` exists already.
    """
    check_vacant(out)
    registry = host().registry
    published = _read(source, config, weights)
    recipe = resolve(load(_recipe(published, source, out)), registry)
    system = assemble(resolve(load(_recipe(published, source, source)), registry), registry)
    style = SINGLE_FILE if source.is_file() else folder.STYLE
    stages = load_parts(system, published, style)
    with new_folder(out) as made:
        for name, path in published.folders.items():
            shutil.copytree(path, made / name, ignore=PICKLES)
        for stage, tensors in stages.items():
            write_tensors(made / f"{stage}.safetensors", tensors)
        (made / "recipe.yaml").write_text(dump(recipe), encoding="utf-8")
    for note in published.notes:
        say(note)
    return out / "recipe.yaml"


def _read(source: Path, config: Path | None, weights: str | None) -> Published:
    registry = host().registry
    if source.is_dir():
        if config is not None or weights is not None:
            raise UserError(
                f"{source} is a folder with configurations of its own: leave out --config and --weights"
            )
        return folder.read(registry, source)
    if not source.exists():
        raise UserError(f"{source}: no such file")
    if config is None:
        raise UserError(f"{source} is a single file: give its published configuration with --config")
    return compvis.read(registry, read_tensors(source), read_yaml(config), weights)


def _recipe(published: Published, source: Path, where: Path) -> dict[str, Any]:
    """The recipe as a mapping; a pretrained encoder is named by the full path of the folder that holds it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._") or "imported"
    recipe: dict[str, Any] = {"recipe": 1, "name": name, **published.recipe, "weights": "."}
    if published.folders:
        caption = {**recipe["conditioners"]["caption"], "path": str(where.resolve())}
        recipe["conditioners"] = {**recipe["conditioners"], "caption": caption}
    return recipe
