"""The files that a recipe names by paths, and where a package holds them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ldmkit.artifacts import check_inside
from ldmkit.engine.components import LEFT_OUT
from ldmkit.engine.requests import is_picture_file
from ldmkit.engine.sample_decoder import decoder_file
from ldmkit.errors import UserError
from ldmkit.hookspecs import Reads
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import Registry
from ldmkit.recipe import Component, Recipe
from ldmkit.recipe.kept import RECIPE
from ldmkit.recipe.model import Sample
from ldmkit.recipe.resolve import resolve_component
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place, located

FILES = "files"
"""The folder of what components name by a path."""
DECODER = "decoder"
"""The folder of a decoder that is not the recipe's own."""
INPUTS = "inputs"
"""Pictures that the recipe draws from."""


@dataclass
class Carried:
    """What goes into a package beside the weights: files by their path in it. Only `copy` writes.

    recipe: the resolved recipe in whose folder relative paths start.
    """

    recipe: Recipe
    registry: Registry
    files: dict[str, Path] = field(default_factory=dict)

    def moved(self) -> Recipe:
        """The recipe with the paths in the package for those of its components and of the pictures that it
        draws from; paths of data stay as they are. UserError for a path whose files cannot be carried."""
        moved = self.components_of(self.recipe)
        inputs = self.recipe.sample.fields.items()
        fields = {name: value and [self._input(one) for one in _all(value)] for name, value in inputs}
        update = {
            "fields": fields,
            "init": self._input(self.recipe.sample.init),
            "decoder": self._decoder(),
        }
        sample: Sample = moved.sample.model_copy(update=update)
        return moved.model_copy(update={"sample": sample})

    def components_of(self, recipe: Recipe) -> Recipe:
        """The recipe with the paths in the package for those of its components."""
        return replace_components(recipe, self._component)

    def copy(self, out: Path) -> None:
        """Copies the files into the package's folder."""
        for target, source in self.files.items():
            (out / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, out / target)

    def _component(self, place: Place, kind: str, component: Component) -> Component:
        if not self._carries(kind):
            return component
        if component.checked.parameters is None:
            component = resolve_component(kind, component, self.registry, self.recipe.folder)
        declared, checked = parameters_of(self.registry.get(kind, component.name)), component.checked
        parameters = dict(component.parameters)
        for key, value in checked.values.items():
            if _has_path(value):
                value = self._started(_plain(value), checked.folder)
                parameters[key] = self._parameter((*place, key), value, declared.reads.get(key, Reads()))
        for key, slot in declared.nested.items():
            parameters[key] = self._nested((*place, key), slot.kind, checked.nested.get(key))
        return component.model_copy(update={"parameters": parameters})

    def _carries(self, kind: str) -> bool:
        return kind != "data"

    def _started(self, value: Any, folder: Path) -> Any:
        return located(value, folder)

    def _nested(self, place: Place, kind: str, held: Any) -> Any:
        if isinstance(held, tuple):
            return [self._nested((*place, i), kind, one) for i, one in enumerate(held)]
        return held and self._component(place, kind, held).flat()

    def _parameter(self, place: Place, value: Any, reads: Reads) -> Any:
        """A parameter with paths in the package for those in it."""
        if isinstance(value, tuple | list):
            return [self._parameter((*place, i), one, reads) for i, one in enumerate(value)]
        if isinstance(value, Mapping):
            return {key: self._parameter((*place, key), one, reads) for key, one in value.items()}
        return self._path(place, value, reads) if isinstance(value, Path) else value

    def _path(self, place: Place, source: Path, reads: Reads) -> str:
        try:
            held = list(_held(source, reads, self.recipe.folder))
        except UserError as error:
            raise UserError(f"{'.'.join(map(str, place))}: {error}") from None
        folder = source if source.is_dir() else source.parent
        target = f"{FILES}/{'-'.join(re.sub(r'[^A-Za-z0-9_]+', '-', str(one)) for one in place)}"
        while any(name.startswith(f"{target}/") for name in self.files):  # ids that differ in signs alone
            target += "-"
        self.files |= {f"{target}/{path.relative_to(folder).as_posix()}": path for path in held}
        return target if source.is_dir() else f"{target}/{source.name}"

    def _decoder(self) -> Any:
        """What decodes the pictures: a folder's file and the recipe beside it go into the package."""
        named = self.recipe.sample.decoder
        path = decoder_file(self.recipe, self.registry) if isinstance(named, str) else None
        if path is None:
            return named
        self.files |= {f"{DECODER}/{one.name}": one for one in (path, path.with_name(RECIPE))}
        return DECODER

    def _input(self, value: Any) -> Any:
        """A picture's path in the package; any other value as it is."""
        if not is_picture_file(value) or not self.recipe.located(value).is_file():
            return value
        source = self.recipe.located(value)
        target, number = f"{INPUTS}/{source.name}", 1
        while self.files.get(target, source) != source:  # another picture of that name
            number += 1
            target = f"{INPUTS}/{source.stem}-{number}{source.suffix}"
        self.files[target] = source
        return target


class LeftOut(Carried):
    """The paths of data, which a package does not hold: `files` has them by their place in the recipe."""

    def _carries(self, kind: str) -> bool:
        return kind == "data"

    def _started(self, value: Any, folder: Path) -> Any:
        return value

    def _path(self, place: Place, source: Path, reads: Reads) -> str:
        """An absolute path as it is; a relative one would name something else from the package's folder."""
        self.files[".".join(map(str, place))] = source
        return str(source) if source.expanduser().is_absolute() else LEFT_OUT


def _held(source: Path, reads: Reads, recipe: Path) -> Iterator[Path]:
    """The files that a path names. UserError where it names nothing, for links that lead out of a folder, and
    for a whole folder that the recipe itself stands in."""
    if source.is_file():
        yield source
        patterns = (pattern.replace("{stem}", escape(source.stem)) for pattern in reads.beside)
        beside = {path for pattern in patterns for path in source.parent.glob(pattern) if path.is_file()}
        yield from (check_inside(source.parent, path) for path in sorted(beside - {source}))
        return
    if not source.is_dir():
        raise UserError(f"{source} is not there: a package holds what the recipe names")
    folders = [source / name for name in reads.within]
    if not folders or not all(folder.is_dir() for folder in folders):
        if recipe.resolve().is_relative_to(source.resolve()):
            raise UserError(
                f"{source} is a folder that the recipe itself stands in: put what is read there into a "
                "folder of its own, which is packaged whole"
            )
        folders = [source]
    for folder in folders:
        yield from _below(check_inside(source, folder), source)


def _below(folder: Path, root: Path) -> Iterator[Path]:
    """The files below a folder, hidden ones aside."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.is_symlink():
            raise UserError(f"{path} is a link to a folder, which is not followed: put the folder there")
        if path.is_dir():
            yield from _below(path, root)
        elif path.is_file():
            yield check_inside(root, path)


def _plain(value: Any) -> Any:
    """A parameter as the constructor takes it, with mappings for models."""
    return value.model_dump() if isinstance(value, BaseModel) else value


def _has_path(value: Any) -> bool:
    """Whether a path is in a parameter."""
    value = _plain(value)
    if isinstance(value, Mapping):
        return any(map(_has_path, value.values()))
    if isinstance(value, tuple | list):
        return any(map(_has_path, value))
    return isinstance(value, Path)


def _all(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
