"""What the lines of metadata.jsonl say of the pictures of a folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

from ldmkit.disk import json_of, text_of
from ldmkit.pictures import shown
from ldmkit_data.places import Places
from ldmkit_data.rows import Listing, Row, note, note_of_empty
from ldmkit_data.tree import METADATA, Files


def described(root: Path, files: Sequence[str], there: Files) -> Listing:
    """What the lines of the metadata files say; all lines have the fields of the first.

    Paths start at the folder of their metadata file. there: all files, for notes on those that are not named.
    Raises ValueError for unusable lines, with their place.
    """
    rows = [row for file in files for row in _lines(root, file)]
    if not rows:
        raise ValueError(f"{root / files[0]}: is empty")
    for row in rows:
        _compare(f"{shown(root / row.base / METADATA)}: {shown(row.name)}", row.values, rows[0].values)
    places = Places(root)
    spelled = [row._replace(name=places.actual(row.name)) for row in rows]
    twice = [name for name, count in Counter(row.name for row in spelled).items() if count > 1]
    if twice:
        raise ValueError(f"{root / files[0]}: {twice[0]} is there twice")
    placed = [row._replace(problem=places.problem(row.name)) for row in spelled]
    fields = tuple(rows[0].values)
    return Listing(sorted(placed, key=lambda row: row.name), fields, notes=_notes(placed, there, files))


def _notes(rows: Sequence[Row], there: Files, read: Sequence[str]) -> tuple[str, ...]:
    """Lines on the files that no row names, and on metadata other than those that are read."""
    named = {str(PurePosixPath(row.name)) for row in rows}
    texts = (value for row in rows for value in row.values.values() if isinstance(value, str))
    further = {_file(text) for text in texts}  # files of fields: masks, maps
    unnamed = [n for n in there.pictures if n not in named and _file(n) not in further]
    beside = [text for name in named if (text := there.captions.beside(name))]
    below = [name for name in there.metadata if name not in read]
    return (
        *note(below, f"files {METADATA} not read, for the folder has its own"),
        *note(unnamed, f"pictures left out that {METADATA} does not name"),
        *note(beside, f"caption files not read, for {METADATA} says what each picture has"),
        *note_of_empty(rows),
    )


def _file(path: str) -> str:
    """The last part of a path, its letters composed."""
    return normalize("NFC", path.rpartition("/")[2])


def _lines(root: Path, file: str) -> Iterator[Row]:
    path, base = root / file, str(PurePosixPath(file).parent)
    if problem := Places(root).problem(file):
        raise ValueError(f"{problem}")
    try:
        lines = text_of(path.read_bytes()).split("\n")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for i, line in enumerate(lines, 1):
        if line.strip():
            yield _row(f"{path}:{i}", line, "" if base == "." else base)


def _row(place: str, line: str, base: str) -> Row:
    """One line; lists become tuples, so that what examples hold cannot change."""
    try:
        values = json_of(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: not JSON, one object a line ({error})") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    name = values.pop("file_name", None) if isinstance(values, dict) else None
    if not isinstance(name, str) or not name.strip("./"):
        raise ValueError(f'{place}: expects an object with "file_name"')
    if "image" in values:
        raise ValueError(f"{place}: a field cannot be named 'image'; that is the picture itself")
    if _leads_out(name):
        raise ValueError(f"{place}: file_name '{name}' leads out of the folder")
    return Row(str(PurePosixPath(base, name)), {k: _constant(v) for k, v in values.items()}, None, base)


def _leads_out(name: str) -> bool:
    """Whether the path, by its text alone, may leave the folder that it starts at."""
    inside = PurePosixPath(name)
    foreign = "\\" in name or "\0" in name or ":" in inside.parts[0]
    return foreign or inside.is_absolute() or ".." in inside.parts


def _compare(place: str, values: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """ValueError unless a line has the first one's fields with values of the same types."""
    if values.keys() != first.keys():
        raise ValueError(f"{place}: has fields {sorted(values)}, the first line has {sorted(first)}")
    for field, value in values.items():
        if value is None:
            raise ValueError(f"{place}: '{field}' is of type null: say what it is, or leave the field out")
        if _type(value) != _type(first[field]):
            raise ValueError(
                f"{place}: '{field}' is of type {_type(value)}; in the first line {_type(first[field])}"
            )


def _type(value: Any) -> str:
    name = type(value).__name__
    return {"int": "number", "float": "number", "NoneType": "null"}.get(name, name)


def _constant(value: Any) -> Any:
    return tuple(_constant(v) for v in value) if isinstance(value, list) else value
