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
from ldmkit.recipe.extending import paths_from
from ldmkit.recipe.kept import Download, explained, with_compression
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.named import find_recipe
from ldmkit.recipe.names import defaults, with_defaults
from ldmkit.recipe.overrides import apply_overrides
from ldmkit.recipe.problems import MAX_SHOWN, Problem, problems_of, refuse
from ldmkit.recipe.slots import named_components, valid_keys
from ldmkit.recipe.sources import Source
from ldmkit.recipe.yaml import read_file


def load(
    source: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
    download: Download | None = None,
) -> Recipe:
    """The recipe of a file's path, a name (see `find_recipe`), a mapping or a Recipe, with `path=value`
    overrides applied.

    `download` fetches a model on the hub whose own recipe is to say the `compression` that this one lacks;
    without it such a model must be on this machine.

    Raises UserError with one line for each problem: place, path in the recipe, message, nearest valid name.
    """
    if isinstance(overrides, str):
        raise UserError(f"overrides: expects a list, as [{overrides!r}], not a text alone")
    values, where = _extended(*_read(source))
    known = registry or host().registry
    values = _changed(values, overrides, where, known, download)
    problems = list(islice(_naming(values, known), MAX_SHOWN + 1))
    try:
        recipe = Recipe.model_validate(values, strict=True)
    except ValidationError as error:
        mistakes = problems_of(error, values, (), dict(valid_keys(Recipe)))
        problems = [*explained(mistakes, values, where, known), *problems]
        refuse(problems, where)
        raise
    refuse(problems, where)
    return with_defaults(recipe, known).with_source(where)


def _changed(
    values: Any, overrides: Sequence[str], where: Source, known: Registry, download: Download | None
) -> Any:
    """The values with the overrides applied, those of `weights` first: they say the `compression`, of which
    others may change a part."""
    of_weights = [one for one in overrides if one.startswith("weights")]
    others = [one for one in overrides if one not in of_weights]
    values = apply_overrides(values, of_weights, where, defaults(known))
    values = with_compression(values, where, known, download)
    return apply_overrides(values, others, where, defaults(known))


def _read(source: str | Path | Mapping[str, Any] | Recipe) -> tuple[Any, Source]:
    if isinstance(source, Recipe):
        known = source.source
        return flat(source), known.copied()
    if isinstance(source, Mapping):
        return plain(source), Source()
    if not isinstance(source, str | Path):
        kind = type(source).__name__
        raise UserError(f"recipe: expects a name, the path of a file, or a mapping of its values, not {kind}")
    return read_file(_file(Path(source)))


def _file(path: Path) -> Path:
    """The recipe's file, by path, by the folder of a packaged model, or by name."""
    if _is_there(path):
        return path
    if (path / "recipe.yaml").is_file():
        return path / "recipe.yaml"
    if path.suffix or path.is_dir():
        raise UserError(_no_file(path))
    return find_recipe(path.as_posix())


def _is_there(path: Path) -> bool:
    """Whether something that is no folder stands there; `read_file` refuses what is no file."""
    return path.exists() and not path.is_dir()


def _extended(values: Any, where: Source) -> tuple[Any, Source]:
    """The recipe that `extends` another: the other's values, each top-level key that it has itself replaced.

    The other is a file, from the folder of the one that extends it, or a recipe by name; it may not extend
    one itself. Relative paths start at the folder of the recipe that wrote them.
    """
    if not isinstance(values, Mapping) or "extends" not in values:
        return values, where
    named, own = values["extends"], {k: v for k, v in values.items() if k != "extends"}
    place = where.where(("extends",))
    if not isinstance(named, str):
        raise UserError(f"{place}: extends: should be a recipe's file or name")
    beside = where.located(named)
    path = beside if _is_there(beside) else _file(Path(named))
    base, source = read_file(path)
    if not isinstance(base, Mapping) or "extends" in base:
        raise UserError(f"{place}: extends: {named} is no recipe, or extends one itself")
    keys = {p: x for p, x in source.keys.items() if p[0] not in own}
    places = {p: x for p, x in source.values.items() if p and p[0] not in own}
    joined = Source(where.label, where.origin, {**keys, **where.keys}, {**places, **where.values})
    if path.parent.resolve() != where.folder.resolve():
        folder = Path(named).parent if path == beside else path.parent.absolute()
        joined.folders.update({(key,): folder for key in base if key not in own})
        base = paths_from(base, folder, path.parent)
    return {**base, **own}, joined


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path}: is a folder; name the recipe's file in it"
    there = sorted(p.name for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
    return f"{path}: no such recipe file{did_you_mean(path.name, there)}"


def _naming(values: Any, registry: Registry) -> Iterator[Problem]:
    """The mistakes in names of components; names inside parameters are left to `resolve`."""
    for path, kind, name, value in named_components(values, Recipe):
        if registry.find(kind, name) is None:
            at = (*path, "name") if isinstance(value, Mapping) else path
            yield Problem(at, registry.missing(kind, name), about=path)
        elif isinstance(value, Mapping) and "parameters" in value:
            message = "unknown key 'parameters'; a component's parameters stand beside its name"
            yield Problem((*path, "parameters"), message, key=True, component=name)
