"""Where a recipe and its values came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel


@dataclass(eq=False)
class Source:
    """Where a recipe and each of its values came from ("file:line:column", or the command line's override).

    label: the file, for what has no place of its own. keys and values: places by the path in the recipe.
    folders: where relative paths in parts that another recipe wrote start, seen from `folder`.
    """

    label: str = "recipe"
    origin: Path | None = None
    keys: dict[Place, str] = field(default_factory=dict)
    values: dict[Place, str] = field(default_factory=dict)
    folders: dict[Place, Path] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Always true among sources: where a recipe came from is no part of what it says."""
        return isinstance(other, Source)

    def where(self, path: Place, *, key: bool = False) -> str:
        """The place of a key, or of a value: the nearest one around it that is known."""
        if key and path in self.keys:
            return self.keys[path]
        return next((self.values[p] for p in _around(path) if p in self.values), self.label)

    def folder_of(self, path: Place) -> Path:
        """Where relative paths at a place of the recipe start, from `folder`."""
        return next((self.folders[p] for p in _around(path) if p in self.folders), Path())

    def copied(self) -> Source:
        """The same, to be changed apart."""
        return Source(self.label, self.origin, dict(self.keys), dict(self.values), dict(self.folders))

    @property
    def folder(self) -> Path:
        """What relative paths are relative to: the folder of the recipe's file; the working directory for a
        recipe from Python."""
        return Path() if self.origin is None else self.origin.parent

    def located(self, path: str | Path) -> Path:
        """A path in the recipe, from its folder; "~" is the user's home."""
        return self.folder / Path(path).expanduser()


def _around(path: Place) -> Iterator[Place]:
    """A place and those around it."""
    return (path[:n] for n in range(len(path), -1, -1))


def located(value: Any, folder: Path) -> Any:
    """A value, such as a parameter, whose relative paths start at `folder`."""
    if isinstance(value, Path):
        return folder / value.expanduser()
    if isinstance(value, tuple):
        return tuple(located(one, folder) for one in value)
    if isinstance(value, Mapping):
        return {key: located(one, folder) for key, one in value.items()}
    if isinstance(value, BaseModel):
        return value.model_copy(update={key: located(one, folder) for key, one in value})
    return value


Place = tuple[str | int, ...]
"""A path in a recipe: keys and list indices."""
