"""The files below a folder: pictures, captions, metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ldmkit.pictures import OTHER_SUFFIXES, SUFFIXES, shown
from ldmkit_data.captions import CAPTIONS, Captions
from ldmkit_data.places import Places

METADATA = "metadata.jsonl"
UNREAD = ("metadata.csv", "metadata.parquet", "metadata.json")


@dataclass(frozen=True)
class Files:
    """The files below a folder by their paths from it, with forward slashes; hidden ones are left alone."""

    pictures: dict[str, str | None]
    """Pictures, with what is wrong with them: of a format that is not read, a link out of the folder..."""
    texts: list[str]
    """Caption files."""
    metadata: list[str]
    unread: list[str]
    """What may hold captions or fields as other programs write them."""
    unusable: dict[str, str]
    """What is wrong with caption files: a pipe, a link out of the folder."""

    @cached_property
    def captions(self) -> Captions:
        """The caption files by their pictures."""
        return Captions(self.texts)


def files_below(root: Path) -> Files:
    """All files below a folder that may play a part."""
    files = Files({}, [], [], [], {})
    places = Places(root)
    for name, suffix, entry in _walk(root, ""):
        if suffix in SUFFIXES or suffix in OTHER_SUFFIXES or entry.is_dir():
            files.pictures[name] = _problem(root, name, suffix, entry, places)
        elif suffix in CAPTIONS:
            files.texts.append(name)
            if not entry.is_file(follow_symlinks=False) and (problem := places.problem(name)):
                files.unusable[name] = problem
        elif entry.name == METADATA:
            files.metadata.append(name)
        elif suffix == ".json" or entry.name.lower() in (METADATA, *UNREAD):
            files.unread.append(name)
    files.metadata.sort()
    return files


def _problem(root: Path, name: str, suffix: str, entry: os.DirEntry[str], places: Places) -> str | None:
    """What is wrong with a picture; a folder is here by a link or by a name like a picture's."""
    if suffix in SUFFIXES:
        return None if entry.is_file(follow_symlinks=False) else places.problem(name)
    if suffix in OTHER_SUFFIXES:
        return f"{shown(root / name)}: {suffix} files are not read: save it as PNG or JPEG"
    return f"{shown(root / name)}: a link to a folder, which is not followed"


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


def stem(name: str) -> str:
    """A path without its suffix."""
    return os.path.splitext(name)[0]
