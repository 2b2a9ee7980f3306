"""What a folder of pictures holds: its files, and what is said of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ldmkit.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Row:
    """One picture: its path from the folder, what is said of it, and what is wrong with that."""

    name: str
    values: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Listing:
    """All pictures in the order of their names; the fields that each has; class names by label."""

    rows: Sequence[Row]
    fields: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def list_folder(root: Path) -> Listing:
    """The pictures below `root` with what metadata.jsonl, else .txt files beside them, else the names of
    sub-folders say. UserError where there is no such folder, no picture, or unusable metadata."""
    if not root.is_dir():
        raise UserError(f"image-folder: no folder {root} (relative paths start at {Path.cwd()})")
    if (root / METADATA).is_file():
        return _described(root / METADATA)
    names = sorted(_pictures(root))
    if not names:
        raise UserError(f"image-folder: no {', '.join(SUFFIXES)} file in {root}")
    if any((root / name).with_suffix(".txt").is_file() for name in names):
        return Listing([_captioned(root, name) for name in names], ("caption",))
    if all("/" in name for name in names):
        return _classified(names)
    return Listing([Row(name, {}) for name in names])


def _pictures(root: Path) -> Iterable[str]:
    """Paths from `root`, with forward slashes; hidden files and folders are left alone."""
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()


def _captioned(root: Path, name: str) -> Row:
    """The picture with the text beside it as "caption"."""
    file = (root / name).with_suffix(".txt")
    try:
        return Row(name, {"caption": " ".join(file.read_text(encoding="utf-8-sig").split())})
    except (OSError, UnicodeDecodeError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        return Row(name, {}, f"{root / name}: its caption {file.name} is {reason}")


def _classified(names: Sequence[str]) -> Listing:
    """The first folder of each path as "class_name", its rank in sorted order as "label"."""
    classes = sorted({name.split("/")[0] for name in names})
    label = {name: i for i, name in enumerate(classes)}
    rows = [Row(n, {"label": label[n.split("/")[0]], "class_name": n.split("/")[0]}) for n in names]
    return Listing(rows, ("label", "class_name"), tuple(classes))


def _described(file: Path) -> Listing:
    """What the lines of metadata.jsonl say; all lines have the fields of the first."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8 ({error.reason} at byte {error.start})") from None
    rows = [_row(f"{file}:{i}", line) for i, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"{file}: is empty")
    for row in rows:
        _compare(f"{file}: {row.name}", row.values, rows[0].values)
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise UserError(f"{file}: {twice[0]} is there twice")
    return Listing(sorted(rows, key=lambda row: row.name), tuple(rows[0].values))


def _row(place: str, line: str) -> Row:
    """One line; lists become tuples, so that what examples hold cannot change."""
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({error})") from None
    name = values.pop("file_name", None) if isinstance(values, dict) else None
    if not isinstance(name, str) or not name:
        raise UserError(f'{place}: expects an object with "file_name"')
    if "image" in values:
        raise UserError(f"{place}: a field cannot be named 'image'; that is the picture itself")
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts or "\\" in name or "\0" in name or ":" in inside.parts[0]:
        raise UserError(f"{place}: file_name '{name}' leads out of the folder")
    return Row(inside.as_posix(), {k: _constant(v) for k, v in values.items()})


def _compare(place: str, values: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """UserError unless a line has the first one's fields with values of the same types."""
    if values.keys() != first.keys():
        raise UserError(f"{place}: has fields {sorted(values)}, the first line has {sorted(first)}")
    for field, value in values.items():
        if _type(value) != _type(first[field]) or value is None:
            raise UserError(
                f"{place}: '{field}' is of type {_type(value)}; in the first line {_type(first[field])}"
            )


def _type(value: Any) -> str:
    name = type(value).__name__
    return {"int": "number", "float": "number", "NoneType": "null"}.get(name, name)


def _constant(value: Any) -> Any:
    return tuple(_constant(v) for v in value) if isinstance(value, list) else value
