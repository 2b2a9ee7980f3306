"""The data set `webdataset`: pictures in tar shards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from braceexpand import braceexpand

from ldmkit.pictures import shown
from ldmkit_shards.examples import READERS, Encoded, Examples, Fault, Record
from ldmkit_shards.fields import PICTURES, READ, field_of, is_object, values_in
from ldmkit_shards.files import State, content_of, of_file, read_at, state_of
from ldmkit_shards.members import LINK, Members, group, keys_in, picture_in, pictures_in, scan

NOT_FOLLOWED = "a link, which is not followed: pack the file itself"
SHARDS = 1_000_000
"""How many shards a pattern may name."""


class WebDataset(Examples):
    """Pictures with captions and fields in uncompressed tar files, as webdataset names them.

    Members whose names agree up to the first dot of the last part are one example: `a.png`, `.jpg`, `.jpeg`
    or `.webp` is its picture; `a.txt` its caption; the keys of the object in `a.json` are fields; `a.cls`
    holds a whole number, the field label. Another word names a field: `a.map.png` holds a further picture (a
    map, a mask...), `a.title.txt` a text, `a.latent.npy` an array (a tensor; nothing is unpickled),
    `a.parts.json` any value. Other members are passed over. The fields are those that any example has; an
    example that lacks a field counts as broken for a recipe that reads it.

    Examples hold image (uint8 "3 H W") and the fields. They come in the order of their keys, whichever shard
    holds them. Each shard is read once to list and digest it, which is cached; then members are read by their
    offset. Splits follow from a hash of the key, as those of a folder with the same files: "train", and
    "validation" with about 5 %. Raises ValueError for a shard that is missing, cut off or changes while it is
    used, and for more broken examples than are allowed.

    Args:
        path: the shards, a path with braces: "shards/part-{000..127}.tar".
    """

    _kind = "webdataset"

    def __init__(self, *, path: Path, **options: Any) -> None:
        super().__init__(**options)
        source = _Shards(shown(path), _shards(path))
        self._second = source.second
        self._take_from(source)

    @property
    def notes(self) -> Sequence[str]:
        """Lines for a person about the choice of pictures."""
        if not self._second:
            return super().notes
        few = f"{len(self._second)}, such as {self._second[0]}"
        return [f"pictures left out, for their example has another one: {few}", *super().notes]


class _Shard(NamedTuple):
    """A digest of a file, its members, and the fields in those of JSON by their offsets."""

    content: str
    members: Sequence[tuple[str, int, int]]
    keys: Mapping[int, Sequence[str] | None]


class _Shards:
    """The examples of tar files."""

    def __init__(self, where: str, paths: Sequence[Path]) -> None:
        self.where, self._paths = where, paths
        self._states = [state_of(path) for path in paths]
        with ThreadPoolExecutor(READERS) as pool:
            known = list(pool.map(_known, paths, self._states))
        self.content = hashlib.sha256(" ".join(shard.content for shard in known).encode()).hexdigest()
        self.files: Mapping[str, str] = {
            path.name: shard.content[:12] for path, shard in zip(paths, known, strict=True)
        }
        self._keys = [shard.keys for shard in known]
        rows = [(key, i, m) for i, shard in enumerate(known) for key, m in group(shard.members).items()]
        rows.sort(key=lambda row: row[:2])
        self._rows: Sequence[tuple[int, Members]] = [row[1:] for row in rows]
        found = [pictures_in(members) for _, _, members in rows]
        pictures = [next(iter(kinds), None) for kinds in found]
        self.keys: Sequence[str] = [
            f"{row[0]}.{picture}" for row, picture in zip(rows, pictures, strict=True)
        ]
        self.second = [f"{self.name(i)}.{kind}" for i, kinds in enumerate(found) for kind in kinds[1:]]
        missing = {i: "has no picture" for i, picture in enumerate(pictures) if picture is None}
        self.problems: Mapping[int, str] = {i: f"{self.name(i)}: {problem}" for i, problem in missing.items()}
        named = dict.fromkeys(self._fields_in(*row) for row in self._rows)
        self.fields = tuple(dict.fromkeys(field for fields in named for field in fields))

    def name(self, place: int) -> str:
        """The shard's path and the example's key."""
        return f"{shown(self._paths[self._rows[place][0]])}: {self.keys[place].rpartition('.')[0]}"

    def record(self, place: int) -> Record:
        """Raises ValueError for a broken member."""
        shard, members = self._rows[place]
        picture = picture_in(members)
        values, unusable, unread = self._values(shard, {k: m for k, m in members.items() if k != picture})
        if picture is None or "image" in values:
            raise ValueError("has no picture" if picture is None else "a field cannot be named 'image'")
        if members[picture][1] == LINK:
            raise ValueError(f"its .{picture}: {NOT_FOLLOWED}")
        content = Encoded(self._read(shard, members[picture]), f"its .{picture}")
        return Record(content, values, unusable, unread)

    def lacking(self) -> Iterator[Fault]:
        """The fields that are in none of an example's members."""
        for place, (shard, members) in enumerate(self._rows):
            names = self._fields_in(shard, members)
            if len(names) < len(self.fields) and place not in self.problems:
                missing = [field for field in self.fields if field not in names]
                unread = None in self._objects(shard, members) and self._values(shard, members)[2]
                yield place, missing, unread or f"has no '{missing[0]}'"

    def _fields_in(self, shard: int, members: Members) -> tuple[str, ...]:
        """The names of the fields in those members, as far as they can be read."""
        listed = [field for fields in self._objects(shard, members) for field in fields or ()]
        named = [field for kind in sorted(members) if (field := field_of(kind))]
        return tuple(field for field in dict.fromkeys([*listed, *named]) if field != "image")

    def _objects(self, shard: int, members: Members) -> list[Sequence[str] | None]:
        """The fields in each of those members that hold objects of JSON; None for an unreadable one."""
        return [self._keys[shard].get(where[0]) for kind, where in members.items() if is_object(kind)]

    def _values(self, shard: int, members: Members) -> tuple[dict[str, Any], dict[str, str], str | None]:
        """The values of the fields in those members, what is wrong with others, and why there may be more."""
        values: dict[str, Any] = {}
        unusable: dict[str, str] = {}
        unread = None
        for kind in sorted(members):  # .json before .txt: the file of its own counts
            try:
                values |= self._field(shard, kind, members[kind])
            except ValueError as error:
                if field := field_of(kind):
                    unusable[field] = str(error)
                else:  # a .json, whose keys are not known
                    unread = str(error)
        return values, unusable, unread

    def _field(self, shard: int, kind: str, where: tuple[int, int]) -> Mapping[str, Any]:
        if where[1] != LINK:
            return values_in(kind, self._read(shard, where))
        if kind.rpartition(".")[2].lower() in (*READ, *PICTURES):
            raise ValueError(f"its .{kind}: {NOT_FOLLOWED}")
        return {}

    def _read(self, shard: int, where: tuple[int, int]) -> bytes:
        return read_at(self._paths[shard], self._states[shard], *where)


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


def _known(path: Path, state: State) -> _Shard:
    def index() -> list[Any]:
        members = scan(path)
        return [content_of(path), members, keys_in(path, members)]

    content, members, (lists, which) = of_file(path, state, "tar", index)
    return _Shard(content, members, {offset: lists[i] for offset, i in which})
