"""A recipe from a file, a mapping or another recipe, its structure and component names checked at once.

Imports no torch: parameters, which need the components themselves, are checked by `resolve`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.plugins import host
from ldmkit.host.registry import Registry
from ldmkit.recipe.dump import flat, plain
from ldmkit.recipe.model import Recipe, Source
from ldmkit.recipe.named import find_recipe
from ldmkit.recipe.overrides import apply_overrides
from ldmkit.recipe.problems import MAX_SHOWN, Problem, problems_of, refuse
from ldmkit.recipe.slots import named_components, valid_keys
from ldmkit.recipe.yaml import read_file


def load(
    source: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> Recipe:
    """The recipe of a file's path, a name (see `find_recipe`), a mapping or a Recipe, with `path=value`
    overrides applied.

    Raises UserError with one line for each problem: place, path in the recipe, message, nearest valid name.
    """
    values, where = _read(source)
    values = apply_overrides(values, overrides, where)
    problems = list(islice(_naming(values, registry or host().registry), MAX_SHOWN + 1))
    try:
        recipe = Recipe.model_validate(values, strict=True)
    except ValidationError as error:
        problems = [*problems_of(error, values, (), dict(valid_keys(Recipe))), *problems]
        refuse(problems, where)
        raise
    refuse(problems, where)
    return recipe.with_source(where)


def _read(source: str | Path | Mapping[str, Any] | Recipe) -> tuple[Any, Source]:
    if isinstance(source, Recipe):
        known = source.source
        return flat(source), Source(known.label, known.origin, dict(known.keys), dict(known.values))
    if isinstance(source, Mapping):
        return plain(source), Source()
    path = Path(source)
    if path.is_file():
        return read_file(path)
    if path.suffix or path.is_dir():
        raise UserError(_no_file(path))
    return read_file(find_recipe(path.as_posix()))


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path}: is a folder; name the recipe's file in it"
    there = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    return f"{path}: no such recipe file{did_you_mean(path.name, there)}"


def _naming(values: Any, registry: Registry) -> Iterator[Problem]:
    """What is wrong with the names of components; those inside parameters are left to `resolve`."""
    for path, kind, name, given in named_components(values, Recipe):
        if name not in registry.names(kind):
            at = (*path, "name") if isinstance(given, Mapping) else path
            yield Problem(at, registry.missing(kind, name), about=path)
        elif isinstance(given, Mapping) and "parameters" in given:
            message = "unknown key 'parameters'; a component's parameters stand beside its name"
            yield Problem((*path, "parameters"), message, key=True, component=name)
