"""What a recipe takes over from another one: the paths in it keep naming what they name there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDERS = (
    ("weights",),
    ("train", "diffusion", "weights"),
    ("adapters", "*", "weights"),
    ("sample", "init"),
    ("sample", "decoder"),
)
"""Texts of a recipe, outside its components, that are paths."""
FILES = (("sample", "fields", "*"), ("sample", "fields", "*", "*"))
"""Those that are where they name a file."""


def paths_from(values: Any, folder: Path, there: Path) -> Any:
    """A recipe's plain values whose relative paths, outside components, start at `folder`.

    folder: of the recipe that wrote them, as the recipe that takes them over names it. there: the same as it
    can be opened.
    """

    def named(value: Any) -> Any:
        return str(folder / Path(value).expanduser()) if isinstance(value, str) else value

    def held(value: Any) -> Any:
        return named(value) if isinstance(value, str) and _is_file(there, value) else value

    for places, change in ((FOLDERS, named), (FILES, held)):
        for place in places:
            values = _changed(values, place, change)
    return values


def _changed(values: Any, place: tuple[str, ...], change: Callable[[Any], Any]) -> Any:
    """A copy with the value at a place changed, where there is one; "*" is every key or entry."""
    if not place:
        return change(values)
    head, rest = place[0], place[1:]
    if isinstance(values, Mapping):
        return {k: _changed(v, rest, change) if head in ("*", k) else v for k, v in values.items()}
    if isinstance(values, tuple) and head == "*":
        return tuple(_changed(one, rest, change) for one in values)
    return values


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # a text that no file could be called
        return False
