"""Further files that the metadata of a folder name: maps, masks, low-resolution pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldmkit.pictures import SUFFIXES, Cut, decode, flatten, read, to_tensor
from ldmkit.types import FieldKind
from ldmkit_data.index import Entry, Index
from ldmkit_data.places import Places
from ldmkit_data.rows import Row

OF_FILES: tuple[FieldKind, ...] = ("picture", "map", "mask")


class FieldFiles:
    """The files of those fields of a folder's rows that hold pictures, by `kinds`."""

    def __init__(self, root: Path, index: Index, kinds: Mapping[str, FieldKind]) -> None:
        self._root, self._index, self._places = root, index, Places(root)
        self._kinds = {field: kind for field, kind in kinds.items() if kind in OF_FILES}
        self._contents: dict[str, str] = {}

    def shown(self, row: Row, field: str, cut: Cut, background: str) -> Any:
        """A field's value: of a file that it names the part that `cut` shows, where its kind is known, else
        the path; any other value as it is. ValueError for a file that cannot be used."""
        value, kind = row.values[field], self._kinds.get(field)
        if not isinstance(value, str):
            return value
        if kind is None:
            return self._named(row, value)
        file = str(self._path(row, value))
        try:
            if kind == "picture":
                return decode(Path(file), lambda p: to_tensor(cut.other(flatten(p, background))))
            return cut.nearest(read(file, kind))
        except ValueError as error:
            raise ValueError(f"{self._root / row.name}: its {field} {value}: {error}") from error

    def problems(self, rows: Sequence[Row], *, decoded: bool) -> Mapping[int, str]:
        """The problem of each row whose files cannot be used, by the row's index."""
        if not self._kinds:
            return {}
        wrong = {i: problem for i, row in enumerate(rows) if (problem := self._misplaced(row))}
        names = [name for i, row in enumerate(rows) if i not in wrong for name in self._names(row)]
        entries = self._index.look(names, decoded=decoded) if names else {}
        self._contents = {name: entry.content for name, entry in entries.items()}
        for i, row in enumerate(rows):
            if i not in wrong and (problem := self._damage(row, entries)):
                wrong[i] = problem
        return {i: f"{self._root / rows[i].name}: {wrong[i]}" for i in sorted(wrong)}

    def contents(self, row: Row) -> list[str]:
        """A digest of each file of a row for which there is no problem."""
        return [self._contents[name] for name in self._names(row)]

    def _misplaced(self, row: Row) -> str | None:
        """Why one of the row's files cannot be looked at: it is missing, or outside the folder."""
        for field in self._kinds:
            value = row.values[field]
            if isinstance(value, str) and (problem := self._places.problem(self._name(row, value))):
                return f"its {field}: {problem}"
        return None

    def _damage(self, row: Row, entries: Mapping[str, Entry]) -> str | None:
        return next((problem for name in self._names(row) if (problem := entries[name].problem)), None)

    def _names(self, row: Row) -> Sequence[str]:
        """The paths of the files from the folder."""
        values = [row.values[field] for field in self._kinds]
        return [self._name(row, value) for value in values if isinstance(value, str)]

    def _name(self, row: Row, value: str) -> str:
        return os.path.relpath(self._path(row, value), self._root)

    def _named(self, row: Row, value: str) -> str:
        """The path of a picture, where the value names one; else the value."""
        if os.path.splitext(value)[1].lower() not in SUFFIXES:
            return value
        path = self._path(row, value)
        return str(path) if path.is_file() else value

    def _path(self, row: Row, value: str) -> Path:
        """The path of a file: beside the metadata if it is there, else from the working directory."""
        beside = self._root / self._places.actual(os.path.join(row.base, value))
        return Path(value).absolute() if not beside.exists() and Path(value).exists() else beside
