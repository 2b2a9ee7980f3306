"""Where a recipe and its values came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False)
class Source:
    """Where a recipe and each of its values came from ("file:line:column", or the command line's override).

    label: the file, for what has no place of its own. keys and values: places by the path in the recipe.
    """

    label: str = "recipe"
    origin: Path | None = None
    keys: dict[Place, str] = field(default_factory=dict)
    values: dict[Place, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Always true among sources: where a recipe came from is no part of what it says."""
        return isinstance(other, Source)

    def where(self, path: Place, *, key: bool = False) -> str:
        """The place of a key, or of a value: the nearest one around it that is known."""
        if key and path in self.keys:
            return self.keys[path]
        around = (path[:n] for n in range(len(path), -1, -1))
        return next((self.values[p] for p in around if p in self.values), self.label)

    @property
    def folder(self) -> Path:
        """What relative paths are relative to: the folder of the recipe's file; the working directory for a
        recipe from Python."""
        return Path() if self.origin is None else self.origin.parent

    def located(self, path: str | Path) -> Path:
        """A path in the recipe, from its folder; "~" is the user's home."""
        return self.folder / Path(path).expanduser()


Place = tuple[str | int, ...]
"""A path in a recipe: keys and list indices."""
