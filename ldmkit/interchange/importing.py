"""`ldmkit import`: a published model becomes a folder that `ldmkit.build` reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from warnings import warn

import torch

from ldmkit.checkpoint.files import write_tensors
from ldmkit.engine.components import component_error
from ldmkit.engine.plans import plan
from ldmkit.engine.system import System, assemble
from ldmkit.errors import Note, UserError
from ldmkit.host.contained import described
from ldmkit.host.plugins import host
from ldmkit.host.registry import Registry
from ldmkit.interchange.folders import check_vacant, new_folder
from ldmkit.interchange.loading import check_configs, check_size, load_parts
from ldmkit.interchange.model import ImportOptions, Published, format_of
from ldmkit.recipe import Component, dump, load, resolve
from ldmkit.recipe.sources import Source
from ldmkit.types import Say

ANY_SIZE = (64, 64)
"""Of a latent: whether there are levels does not depend on it."""


def import_model(
    source: Path,
    out: Path,
    config: Path | None,
    weights: str | None,
    say: Say,
    *,
    tokenizer: Path | None = None,
    format: str | None = None,
) -> Path:
    """Reads `source` and writes `out/recipe.yaml` and the weights; the recipe's path.

    config: a single file's configuration. weights: "raw", "ema", or None for the averaged ones where there
    are any. tokenizer: a folder with the tokenizer of a text encoder that comes without. format: its name,
    where the source does not show it.

    Every key is accounted for. Raises UserError, and writes nothing, for a file that is damaged or holds
    more than tensors, for a configuration that is unknown or does not fit, and where `out` exists already.
    """
    check_vacant(out)
    registry = host().registry
    name = _format_of(registry, source, format)
    published = format_of(registry, name).read(registry, source, ImportOptions(config, weights, tokenizer))
    if not isinstance(published, Published):
        slot, kind = Component(name=name), type(published).__name__
        raise component_error("format", slot, f"read gives {kind}, no ldmkit.interchange.model.Published")
    with new_folder(out) as target:
        _write(published, name, source, target, registry)
    for note in published.notes:
        say(note)
    return out / "recipe.yaml"


def _write(published: Published, format: str, source: Path, target: Path, registry: Registry) -> None:
    """Fills the new folder `target` with the recipe, the weights and what the recipe needs beside them."""
    for folder, fill in published.folders.items():
        (target / folder).mkdir()
        fill(target / folder)
    here = Source(origin=target / "recipe.yaml")  # its paths start at the new folder
    recipe = resolve(load(_recipe(published, source)).with_source(here), registry)
    with torch.device("meta"):
        draft = assemble(recipe, registry)
    check_size(draft, published)
    check_configs(draft, published, format)
    system = assemble(recipe, registry)
    _check_levels(system)
    for stage, tensors in load_parts(system, published, format).items():
        write_tensors(target / f"{stage}.safetensors", tensors)
    (target / "recipe.yaml").write_text(dump(recipe), encoding="utf-8")


def _check_levels(system: System) -> None:
    """UserError for a spacing that has no levels on the schedule."""
    slot, most = system.recipe.sampler, system.schedule.timesteps
    plan(system, steps=min(slot.steps, most or slot.steps)).levels(system, ANY_SIZE)


def _format_of(registry: Registry, source: Path, named: str | None) -> str:
    """The name of the format that reads `source`; UserError where none or several do."""
    if not source.exists():
        raise UserError(f"{source}: no such file")
    if named is not None:
        registry.get("format", named)
        return named
    names = registry.names("format")
    ready = [name for name in names if _accepts(registry, name, source)]
    if len(ready) == 1:
        return ready[0]
    which = f"may be in several formats ({', '.join(ready)})" if ready else "is in no format that is known"
    raise UserError(f"{source} {which}: name one with --format, of {', '.join(names) or 'none'}")


def _accepts(registry: Registry, name: str, source: Path) -> bool:
    """Whether that format may read the source; one that fails to say so is left out with a warning."""
    try:
        return bool(format_of(registry, name).accepts(source))
    except Exception as error:  # a stranger's format must not keep the others from reading
        warn(Note(f"the format {name} is left out: {described(error)}"), stacklevel=2)
        return False


def _recipe(published: Published, source: Path) -> dict[str, Any]:
    """The recipe as a mapping; its paths start at the new folder."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._") or "imported"
    return {"recipe": 1, "name": name, **published.recipe, "weights": "."}
