"""Further files that the metadata of a folder name: maps, masks, low-resolution pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ldmkit.pictures import SUFFIXES
from ldmkit.types import FieldKind
from ldmkit_data.index import Index
from ldmkit_data.places import Places
from ldmkit_data.rows import Row

OF_FILES: tuple[FieldKind, ...] = ("picture", "map", "mask")


class FieldFiles:
    """The files of those fields of a folder's rows that hold pictures, by `kinds`."""

    def __init__(self, root: Path, places: Places, kinds: Mapping[str, FieldKind]) -> None:
        self._root, self._places = root, places
        self._fields = [field for field, kind in kinds.items() if kind in OF_FILES]
        self._contents: dict[str, str] = {}

    def shown(self, row: Row, field: str, value: Any) -> Any:
        """The path of a file, where the value names one; else the value."""
        if not isinstance(value, str):
            return value
        if field not in self._fields and os.path.splitext(value)[1].lower() not in SUFFIXES:
            return value
        path = self._path(row, value)
        return str(path) if field in self._fields or path.is_file() else value

    def whole(self, rows: Sequence[Row], index: Index, decoded: bool, problems: dict[Path, str]) -> list[Row]:
        """The rows all of whose files can be used; what is wrong with the others goes to `problems`."""
        wrong = {row.name: self._problem(row) for row in rows} if self._fields else {}
        names = [n for row in rows if wrong.get(row.name) is None for n in self._names(row)]
        entries = index.look(names, decoded=decoded) if names else {}
        self._contents = {name: entry.content for name, entry in entries.items()}
        kept = []
        for row in rows:
            problem = wrong.get(row.name) or next(
                (entries[n].problem for n in self._names(row) if entries[n].problem), None
            )
            if problem is None:
                kept.append(row)
            else:
                problems[self._root / row.name] = f"{self._root / row.name}: {problem}"
        return kept

    def contents(self, row: Row) -> list[str]:
        """A digest of each file of a row that `whole` kept."""
        return [self._contents[name] for name in self._names(row)] if self._fields else []

    def _problem(self, row: Row) -> str | None:
        for field in self._fields:
            value = row.values[field]
            if isinstance(value, str):
                problem = self._places.problem(self._name(row, value))
                if problem is not None:
                    return f"its {field}: {problem}"
        return None

    def _names(self, row: Row) -> Sequence[str]:
        """The files' paths from the folder."""
        values = [row.values[field] for field in self._fields]
        return [self._name(row, value) for value in values if isinstance(value, str)]

    def _name(self, row: Row, value: str) -> str:
        return os.path.relpath(self._path(row, value), self._root)

    def _path(self, row: Row, value: str) -> Path:
        """Beside the metadata, else from the working directory."""
        beside = self._root / row.base / value
        return Path(value).absolute() if not beside.exists() and Path(value).exists() else beside
