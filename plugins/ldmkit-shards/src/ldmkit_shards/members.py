"""The members of a tar file by offset, grouped into examples."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from ldmkit.errors import UserError
from ldmkit.pictures import shown
from ldmkit_shards.fields import PICTURES, is_object, values_in

Members = Mapping[str, tuple[int, int]]
"""Offset and size in bytes, by what follows the first dot of the name."""
STEM = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")
"""The key of an example, and the kind of a member: webdataset's rule."""
BLOCK = 512


LINK = -1
"""The size of a member that is a link or another thing without content of its own: it is not followed."""


def scan(path: Path) -> list[tuple[str, int, int]]:
    """Name, offset and size of each member of an uncompressed tar file but its folders; no content is read.

    The size of a member that is no regular file is LINK. Raises UserError for a file that is no tar file, is
    compressed, is cut off, or is damaged between its members.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            members = [(m.name, m.offset_data, _size(m)) for m in tar if not m.isdir()]
            end = tar.offset
    except (tarfile.TarError, OSError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"[:200]
        raise UserError(f"{shown(path)}: not a whole, uncompressed tar file ({reason})") from None
    _check_end(path, end, members)
    return members


def _size(member: tarfile.TarInfo) -> int:
    return member.size if member.isreg() and not member.issparse() else LINK


def _check_end(path: Path, end: int, members: list[tuple[str, int, int]]) -> None:
    """UserError unless the list ends where the file does: tarfile takes a damaged header for the end."""
    with path.open("rb") as file:
        file.seek(end)
        rest, size = file.read(BLOCK), os.fstat(file.fileno()).st_size
    if any(rest) or any(offset + length > size for _, offset, length in members):
        last = shown(members[-1][0]) if members else "its start"
        raise UserError(f"{shown(path)}: cut off or damaged after {last}; get the shard again")


def group(members: Iterable[tuple[str, int, int]]) -> Mapping[str, Members]:
    """The members of each example by its key, without hidden ones and webdataset's own notes ("__...").

    Names are compared in one Unicode form, since a Mac writes "é" as two characters where others write one.
    The key is spelled as that of the picture.
    """
    groups: dict[str, dict[str, tuple[int, int]]] = {}
    for name, offset, size in members:
        stem = STEM.match(name.removeprefix("./"))
        if stem and not stem[1].rpartition("/")[2].startswith("__"):
            groups.setdefault(stem[1], {})[stem[2]] = (offset, size)
    letters = [key for key in groups if not key.isascii()]
    pictured = {normalize("NFC", key): key for key in letters if picture_in(groups[key])}
    for key in letters:
        if not picture_in(groups[key]) and (same := pictured.get(normalize("NFC", key))):
            groups[same] = groups.pop(key) | groups[same]
    return groups


def picture_in(members: Members) -> str | None:
    """The kind of the member that is the example's picture; None where there is none."""
    return next(iter(pictures_in(members)), None)


def pictures_in(members: Members) -> list[str]:
    """The kinds of the members that are pictures of the example; the first of them is read."""
    return [kind for kind in members if kind.lower() in PICTURES]


def keys_in(path: Path, members: Iterable[tuple[str, int, int]]) -> Sequence[Any]:
    """The names of the fields in members that hold a JSON object: the list of all different sets of names
    (None for an object that cannot be read), and for each such member its offset and the number of its
    set."""
    lists: dict[tuple[str, ...] | None, int] = {}
    which = []
    with path.open("rb") as file:
        for name, offset, size in members:
            stem = STEM.match(name.removeprefix("./"))
            if stem and is_object(stem[2]) and size != LINK:
                file.seek(offset)
                fields = _keys(stem[2], file.read(size))
                which.append((offset, lists.setdefault(fields, len(lists))))
    return list(lists), which


def _keys(kind: str, content: bytes) -> tuple[str, ...] | None:
    try:
        return tuple(values_in(kind, content))
    except ValueError:
        return None
