"""The data set `webdataset`: pictures in tar shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from ldmkit.pictures import PictureError, shown
from ldmkit_shards.examples import READERS, Encoded, Examples, Fault, Record
from ldmkit_shards.fields import PICTURES, READ, field_of, values_in
from ldmkit_shards.files import State, content_of, of_file, read_at, state_of
from ldmkit_shards.members import LINK, Members, group, scan

NOT_FOLLOWED = "a link, which is not followed: pack the file itself"
SHARDS = 1_000_000
"""How many shards a pattern may name."""


class WebDataset(Examples):
    """Pictures with captions and fields in uncompressed tar files, as webdataset names them.

    Members of one name up to the first dot of its last part are an example: `a.png`, `.jpg`, `.jpeg` or
    `.webp` is its picture; `a.txt` its caption; the keys of the object in `a.json` are fields; `a.cls` holds
    a whole number, the field label. Another word stands for a field: `a.map.png` for a further picture (a
    map, a mask...), `a.title.txt` for a text, `a.latent.npy` for an array (a tensor; nothing is unpickled),
    `a.parts.json` for any value. Other members are left alone. All examples have the fields of the first.

    Examples: image (uint8 "3 H W") and the fields. They come in the order of their keys, however they lie in
    shards. Each shard is read once to list and digest it, which is cached; then members are read by their
    place in it. Splits by a hash of the key, as those of a folder with the same files: "train", and
    "validation" with about 5 %. Raises ValueError for a shard that is missing, cut off or changes while it is
    used, and for more broken examples than allowed.

    Args:
        path: the shards, a path with braces: "shards/part-{000..127}.tar".
    """

    _kind = "webdataset"

    def __init__(self, *, path: Path, **options: Any) -> None:
        super().__init__(**options)
        self._take_from(_Shards(shown(path), _shards(path)))


class _Shards:
    """The examples of tar files."""

    def __init__(self, where: str, paths: Sequence[Path]) -> None:
        self.where, self._paths = where, paths
        self._states = [state_of(path) for path in paths]
        with ThreadPoolExecutor(READERS) as pool:
            known = list(pool.map(_known, paths, self._states))
        self.content = hashlib.sha256(" ".join(content for content, _ in known).encode()).hexdigest()
        self.files: Mapping[str, str] = {
            path.name: content[:12] for path, (content, _) in zip(paths, known, strict=True)
        }
        rows = [(key, i, m) for i, (_, members) in enumerate(known) for key, m in group(members)]
        rows.sort(key=lambda row: row[:2])
        self._rows: Sequence[tuple[int, Members]] = [row[1:] for row in rows]
        pictures = [_picture(members) for _, _, members in rows]
        self.keys: Sequence[str] = [
            f"{row[0]}.{picture}" for row, picture in zip(rows, pictures, strict=True)
        ]
        missing = {i: "has no picture" for i, picture in enumerate(pictures) if picture is None}
        self.problems: Mapping[int, str] = {i: f"{self.name(i)}: {problem}" for i, problem in missing.items()}
        self.fields = next(self._fields(), ())

    def name(self, place: int) -> str:
        """The shard's path and the example's key."""
        return f"{shown(self._paths[self._rows[place][0]])}: {self.keys[place].rpartition('.')[0]}"

    def record(self, place: int) -> Record:
        """Raises ValueError for a broken member."""
        shard, members = self._rows[place]
        picture = _picture(members)
        values, unusable = self._fields_of(shard, {k: where for k, where in members.items() if k != picture})
        if picture is None or "image" in values:
            raise ValueError("has no picture" if picture is None else "a field cannot be named 'image'")
        if members[picture][1] == LINK:
            raise ValueError(f"its .{picture}: {NOT_FOLLOWED}")
        return Record(Encoded(self._read(shard, members[picture]), f"its .{picture}"), values, unusable)

    def lacking(self) -> Iterator[Fault]:
        """The fields for which an example has no member; the keys of a .json show only when it is read."""
        for place, (_, members) in enumerate(self._rows):
            names = {field_of(kind) for kind in members}
            missing = [field for field in self.fields if field not in names]
            if missing and "json" not in members and place not in self.problems:
                yield place, missing, f"has no '{missing[0]}'"

    def _fields_of(self, shard: int, members: Members) -> tuple[dict[str, Any], dict[str, str]]:
        """The values of the fields in those members, and what is wrong with others."""
        values: dict[str, Any] = {}
        unusable: dict[str, str] = {}
        for kind in sorted(members):  # .json before .txt: the file of its own counts
            try:
                values |= self._field(shard, kind, members[kind])
            except ValueError as error:
                if not (field := field_of(kind)):  # a .json, whose keys are not known
                    raise
                unusable[field] = str(error)
        return values, unusable

    def _field(self, shard: int, kind: str, where: tuple[int, int]) -> Mapping[str, Any]:
        if where[1] != LINK:
            return values_in(kind, self._read(shard, where))
        if kind.rpartition(".")[2].lower() in (*READ, *PICTURES):
            raise ValueError(f"its .{kind}: {NOT_FOLLOWED}")
        return {}

    def _read(self, shard: int, where: tuple[int, int]) -> bytes:
        return read_at(self._paths[shard], self._states[shard], *where)

    def _fields(self) -> Iterator[tuple[str, ...]]:
        """Those of the examples that can be read."""
        for place in range(len(self.keys)):
            try:
                record = self.record(place)
                yield tuple(dict.fromkeys([*record.values, *record.unusable]))
            except (ValueError, PictureError):
                continue


def _shards(pattern: Path) -> Sequence[Path]:
    """The files of a pattern; ValueError where one is missing."""
    try:
        paths = [Path(name) for name in islice(braceexpand(str(pattern)), SHARDS + 1)]
    except ValueError as error:
        raise ValueError(f"{pattern}: {error}") from None
    if len(paths) > SHARDS:
        raise ValueError(f"{pattern}: names more than {SHARDS} shards")
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(paths)} shards of {pattern} missing: {shown(missing[0])}"
            f"{'...' if len(missing) > 1 else ''} (shards are files, not URLs)"
        )
    return paths


def _known(path: Path, state: State) -> tuple[str, Any]:
    content, members = of_file(path, state, "tar", lambda: [content_of(path), scan(path)])
    return content, members


def _picture(members: Mapping[str, Any]) -> str | None:
    return next((kind for kind in members if kind.lower() in PICTURES), None)
