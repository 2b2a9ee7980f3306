"""The listing of a folder of pictures: its files and the fields of each."""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ldmkit.pictures import OTHER_SUFFIXES, SUFFIXES, shown
from ldmkit_data.places import Places

METADATA = "metadata.jsonl"
UNREAD = ("metadata.csv", "metadata.parquet", "metadata.json")
CAPTIONS = (".txt", ".caption")


class Row(NamedTuple):
    """One picture: its path from the folder, what is said of it, and what is wrong with that.

    base: the path from the folder at which the files that `values` names start. lacks: why it has none of the
    listing's fields, which matters where one of them is read.
    """

    name: str
    values: Mapping[str, Any]
    problem: str | None = None
    base: str = ""
    lacks: str | None = None


@dataclass(frozen=True)
class Listing:
    """All pictures in the order of their names; the fields that each has; class names by label."""

    rows: Sequence[Row]
    fields: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What is in the folder and plays no part, a line each."""


@dataclass(frozen=True)
class Files:
    """The files below a folder by their paths from it, with forward slashes; hidden ones are left alone."""

    pictures: Mapping[str, str | None]
    """Pictures, with what is wrong with them: of a format that is not read, a link out of the folder..."""
    texts: Mapping[str, str]
    """Caption files, by the path without suffix."""
    metadata: Sequence[str]
    unusable: Mapping[str, str]
    """What is wrong with caption files: a pipe, a link out of the folder."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No cyclic garbage collection within: each would look through all rows that are there already."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def list_folder(root: Path) -> Listing:
    """The pictures below `root` with what metadata.jsonl files, else text files beside the pictures, else the
    names of sub-folders say. ValueError where there is no such folder, no picture, or unusable metadata."""
    try:
        there = root.is_dir()
    except OSError as error:
        raise ValueError(f"no folder {root} ({error.strerror})") from None
    if not there:
        raise ValueError(f"no folder {root} (relative paths start at {Path.cwd()})")
    files = _files(root)
    if (root / METADATA).exists():
        return _described(root, [METADATA], files)
    if files.metadata:
        return _described(root, files.metadata, files)
    unread = [name for name in UNREAD if (root / name).is_file()]
    if unread:
        raise ValueError(f"{root / unread[0]} is not read; fields come from {METADATA}")
    if all(problem is not None for problem in files.pictures.values()):
        first = next((f"; {p}" for p in files.pictures.values()), "")
        raise ValueError(f"no {', '.join(SUFFIXES)} file in {root}{first}")
    names = sorted(files.pictures)
    if files.texts and any(_stem(name) in files.texts for name in names):
        rows = [_captioned(root, name, files) for name in names]
        return Listing(rows, ("caption",), notes=_notes_of_captions(rows, files))
    below = sum("/" in name for name in names)
    if below > len(names) - below:
        return _classified(root, files)
    return Listing([Row(name, {}, files.pictures[name]) for name in names])


def _files(root: Path) -> Files:
    pictures: dict[str, str | None] = {}
    texts: dict[str, str] = {}
    unusable: dict[str, str] = {}
    metadata = []
    places = Places(root)
    for name, suffix, entry in _walk(root, ""):
        if suffix in SUFFIXES:
            pictures[name] = None if entry.is_file(follow_symlinks=False) else places.problem(name)
        elif suffix in OTHER_SUFFIXES:
            pictures[name] = f"{shown(root / name)}: {suffix} files are not read: save it as PNG or JPEG"
        elif entry.is_dir():  # a link, or it would have been walked
            pictures[name] = f"{shown(root / name)}: a link to a folder, which is not followed"
        elif suffix in CAPTIONS:
            texts[_stem(name)] = name
            if not entry.is_file(follow_symlinks=False) and (problem := places.problem(name)):
                unusable[name] = problem
        elif entry.name == METADATA:
            metadata.append(name)
    return Files(pictures, texts, sorted(metadata), unusable)


def _walk(root: Path, below: str) -> Iterator[tuple[str, str, os.DirEntry[str]]]:
    """Path, suffix and entry of all that is no folder below `root`; links to folders and folders that are
    named like pictures too."""
    folders = []
    with os.scandir(root / below) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{below}/{entry.name}" if below else entry.name
            dot = entry.name.rfind(".")
            suffix = entry.name[dot:].lower() if dot > 0 else ""
            if suffix not in SUFFIXES and entry.is_dir(follow_symlinks=False):
                folders.append(name)
            else:
                yield name, suffix, entry
    for name in folders:
        yield from _walk(root, name)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _captioned(root: Path, name: str, files: Files) -> Row:
    """The picture with the text beside it as "caption"."""
    text, problem = files.texts.get(_stem(name)), files.pictures[name]
    whose = f"{shown(root / name)}: its caption"
    if text is None:
        return Row(
            name, {}, problem, lacks=f"{whose} {shown(Path(name).with_suffix('.txt').name)} is missing"
        )
    if text in files.unusable:
        return Row(name, {}, problem, lacks=f"{whose}: {files.unusable[text]}")
    try:
        caption = (root / text).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return Row(name, {}, problem, lacks=f"{whose} {shown(Path(text).name)} is unreadable")
    return Row(name, {"caption": " ".join(caption.split())}, problem)


def _classified(root: Path, files: Files) -> Listing:
    """The first folder of each path as "class_name", its rank in sorted order as "label"."""
    whole = [name for name, problem in files.pictures.items() if problem is None]
    classes = sorted({name.split("/")[0] for name in whole if "/" in name})
    values = {name: {"label": i, "class_name": name} for i, name in enumerate(classes)}

    def row(name: str) -> Row:
        folder, below, _ = name.partition("/")
        if files.pictures[name] is not None:
            return Row(name, {}, files.pictures[name])
        if not below:
            return Row(name, {}, lacks=f"{shown(root / name)}: lies in none of the class folders")
        return Row(name, values[folder])

    rows = [row(name) for name in sorted(files.pictures)]
    return Listing(rows, ("label", "class_name"), tuple(classes))


def _described(root: Path, files: Sequence[str], there: Files) -> Listing:
    """What the lines of the metadata files say; all lines have the fields of the first.

    Paths start at the folder of their metadata file. there: all files, for notes on those that are not named.
    """
    rows = [row for file in files for row in _lines(root, file)]
    if not rows:
        raise ValueError(f"{root / files[0]}: is empty")
    for row in rows:
        _compare(f"{shown(root / row.base / METADATA)}: {shown(row.name)}", row.values, rows[0].values)
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"{root / files[0]}: {twice[0]} is there twice")
    places = Places(root)
    placed = [row._replace(problem=places.problem(row.name)) for row in rows]
    named = {str(PurePosixPath(row.name)) for row in rows}
    texts = (value for row in rows for value in row.values.values() if isinstance(value, str))
    further = {text.rpartition("/")[2] for text in texts}  # files of fields: masks, maps
    unnamed = [n for n in there.pictures if n not in named and n.rpartition("/")[2] not in further]
    beside = [text for stem, text in there.texts.items() if any(stem + s in named for s in SUFFIXES)]
    notes = (
        *_note(unnamed, f"pictures left out that {METADATA} does not name"),
        *_note(beside, f"caption files not read, for {METADATA} says what each picture has"),
    )
    return Listing(sorted(placed, key=lambda row: row.name), tuple(rows[0].values), notes=notes)


def _notes_of_captions(rows: Sequence[Row], files: Files) -> tuple[str, ...]:
    stems = {_stem(name) for name in files.pictures}
    orphans = [text for stem, text in files.texts.items() if stem not in stems]
    empty = [row.name for row in rows if row.values.get("caption") == ""]
    return (
        *_note(orphans, "caption files without a picture beside them"),
        *_note(empty, "pictures with an empty caption"),
    )


def _note(names: Sequence[str], what: str) -> list[str]:
    return [f"{what}: {len(names)}, such as {shown(min(names))}"] if names else []


def _lines(root: Path, file: str) -> Iterator[Row]:
    path, base = root / file, str(PurePosixPath(file).parent)
    if problem := Places(root).problem(file):
        raise ValueError(f"{problem}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    for i, line in enumerate(lines, 1):
        if line.strip():
            yield _row(f"{path}:{i}", line, "" if base == "." else base)


def _row(place: str, line: str, base: str) -> Row:
    """One line; lists become tuples, so that what examples hold cannot change."""
    try:
        values = json.loads(line)
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place}: holds half of a character (a lone surrogate)") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: not JSON ({error})") from None
    name = values.pop("file_name", None) if isinstance(values, dict) else None
    if not isinstance(name, str) or not name.strip("./"):
        raise ValueError(f'{place}: expects an object with "file_name"')
    if "image" in values:
        raise ValueError(f"{place}: a field cannot be named 'image'; that is the picture itself")
    if leads_out(name):
        raise ValueError(f"{place}: file_name '{name}' leads out of the folder")
    return Row(str(PurePosixPath(base, name)), {k: _constant(v) for k, v in values.items()}, None, base)


def leads_out(name: str) -> bool:
    """Whether the path, by its text alone, may leave the folder that it starts at."""
    inside = PurePosixPath(name)
    foreign = "\\" in name or "\0" in name or ":" in inside.parts[0]
    return foreign or inside.is_absolute() or ".." in inside.parts


def _compare(place: str, values: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """ValueError unless a line has the first one's fields with values of the same types."""
    if values.keys() != first.keys():
        raise ValueError(f"{place}: has fields {sorted(values)}, the first line has {sorted(first)}")
    for field, value in values.items():
        if _type(value) != _type(first[field]) or value is None:
            raise ValueError(
                f"{place}: '{field}' is of type {_type(value)}; in the first line {_type(first[field])}"
            )


def _type(value: Any) -> str:
    name = type(value).__name__
    return {"int": "number", "float": "number", "NoneType": "null"}.get(name, name)


def _constant(value: Any) -> Any:
    return tuple(_constant(v) for v in value) if isinstance(value, list) else value
