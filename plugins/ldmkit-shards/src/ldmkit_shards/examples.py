"""The base of data sets whose pictures are stored encoded, whatever holds them: broken examples, sizes,
views."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from ldmkit.pictures import (
    Cut,
    Lack,
    PictureData,
    PictureError,
    decode_bytes,
    flatten,
    read,
    to_tensor,
    upright_size,
)
from ldmkit.types import FieldKind
from ldmkit_shards.files import cached

DECODED = 4096
"""Examples up to which all are read when a data set is first seen, so that damage is found then."""
READERS = 8


@dataclass(frozen=True)
class Encoded:
    """The bytes of a picture file, and the name by which messages call it."""

    content: bytes
    name: str


@dataclass(frozen=True)
class Record:
    """One example as it is stored: its picture, the values of its fields, and for unusable fields the reason.

    unread: the reason why there may be more fields, whose names cannot be read.
    """

    picture: Encoded
    values: Mapping[str, Any]
    unusable: Mapping[str, str]
    unread: str | None = None

    def lack(self, field: str) -> str | None:
        """The reason why the record has no usable field of that name; None where it has one."""
        if field in self.unusable:
            return self.unusable[field]
        return None if self.values.get(field) is not None else self.unread or f"has no '{field}'"


Fault = tuple[int, Sequence[str], str]
"""A place, the fields that cannot be used there (none: the example is broken), and why."""


class Source(Protocol):
    """The records of a data set by their place, in the order of their keys.

    where: the name by which messages call the source. problems: the records that are known to be unusable, by
    place, with the reason. content: a digest of all that is stored. files: a digest of each file, by its
    name.
    """

    where: str
    keys: Sequence[str]
    fields: tuple[str, ...]
    problems: Mapping[int, str]
    content: str
    files: Mapping[str, str]

    def name(self, place: int) -> str:
        """The name by which messages call a record."""

    def record(self, place: int) -> Record:
        """The record at a place. Raises ValueError or PictureError for a broken one, UserError where its file
        has changed or is gone."""

    def lacking(self) -> Iterable[Fault]:
        """The fields that records lack, as far as that is known without reading pictures."""


class Examples(PictureData):
    """The data set of a source, which a subclass hands to `_take_from`.

    Where the sizes of all pictures are needed (for buckets or `smallest`), their headers are read once, when
    the set is first opened.
    """

    def _take_from(self, source: Source) -> None:
        self._source = source
        faults = self._faults()
        broken = {place: reason for place, fields, reason in faults if not fields}
        lacks = {place: Lack(tuple(fields), reason) for place, fields, reason in faults if fields}
        self._sizes = self._measured() if self._views.measured else []
        self._open(source.where, source.keys, source.fields, {**source.problems, **broken}, lacks)

    @cached_property
    def digest(self) -> str:
        """A digest of what is stored, of which examples are used, and of the settings."""
        return _digest([self._source.content, *self._settings, self._places])

    @property
    def contents(self) -> Mapping[str, str]:
        """A digest of each file by its name, so that a message can say which files have changed."""
        return self._source.files

    @cached_property
    def picture_digest(self) -> str:
        """A digest of the pictures alone, as they are shown where nothing is drawn at random."""
        return _digest(["pictures", self._source.content, *self._picture_settings, self._places])

    def _size(self, place: int) -> tuple[int, int]:
        return self._sizes[place]

    def _name(self, place: int) -> str:
        return self._source.name(place)

    def _example(self, place: int, fields: Collection[str], key: int | None) -> Mapping[str, Any]:
        try:
            record = self._source.record(place)
            if lack := next((lack for f in self.fields if (lack := record.lack(f))), None):
                raise ValueError(lack)
            return self._shown(record, fields, key)
        except (PictureError, ValueError) as error:
            raise ValueError(f"{self._name(place)}: {error}") from error

    def _shown(self, record: Record, names: Collection[str], key: int | None) -> Mapping[str, Any]:
        """The picture is decoded where it is wanted, or a field that is cut with it."""
        cut, image = None, {}
        if "image" in names or any(self._is_cut(record.values.get(f), f) for f in names):
            cut, pixels = self._picture(record, key if "image" in names else None)
            image = {"image": pixels} if "image" in names else {}
        fields = [f for f in self.fields if f in names]
        return {**image, **{f: self._value(f, record.values[f], cut, key) for f in fields}}

    def _picture(self, record: Record, key: int | None) -> tuple[Cut, Tensor]:
        content, name = record.picture.content, record.picture.name
        return decode_bytes(content, name, lambda p: self._views.picture(p, key))

    def _is_cut(self, value: Any, field: str) -> bool:
        return isinstance(value, Encoded | Tensor) or self._kinds.get(field) == "boxes"

    def _value(self, field: str, value: Any, cut: Cut | None, key: int | None) -> Any:
        """A field's value; pictures as "picture" where nothing says what they hold."""
        kind = self._kinds.get(field)
        if self._is_text(field):
            return self._views.text(value, key)
        if cut is None:
            return value
        if kind == "boxes":
            return cut.boxes(value)
        if isinstance(value, Encoded):
            return decode_bytes(
                value.content, value.name, lambda p: self._of_picture(p, kind or "picture", cut, value.name)
            )
        return cut.nearest(value) if kind in ("map", "mask") else value

    def _of_picture(self, picture: Image.Image, kind: FieldKind, cut: Cut, name: str) -> Tensor:
        if kind == "picture":
            return to_tensor(cut.other(flatten(picture, self._views.background)))
        return cut.nearest(read(picture, kind, name))

    def _faults(self) -> list[Fault]:
        """What is broken or lacks a field. A small set is read for that, and what is found kept by its
        content; of a large one it is what is known without reading pictures."""
        source = self._source
        small = len(source.keys) <= DECODED
        key = f"faults {self._kind} {source.content}"
        known = cached(key, self._found) if small else source.lacking()
        return [(place, fields, f"{self._name(place)}: {reason}") for place, fields, reason in known]

    def _found(self) -> list[Fault]:
        places = [i for i in range(len(self._source.keys)) if i not in self._source.problems]
        with ThreadPoolExecutor(READERS) as pool:
            return [fault for fault in pool.map(self._fault, places) if fault]

    def _fault(self, place: int) -> Fault | None:
        try:
            record = self._source.record(place)
            cut, _ = self._picture(record, None)
        except (PictureError, ValueError) as error:
            return place, (), str(error)
        reasons = {f: why for f in self._source.fields if (why := self._unusable(record, f, cut))}
        return (place, tuple(reasons), next(iter(reasons.values()))) if reasons else None

    def _unusable(self, record: Record, field: str, cut: Cut) -> str | None:
        """Why a record's field cannot be shown."""
        if lack := record.lack(field):
            return lack
        try:
            self._value(field, record.values[field], cut, None)
        except (PictureError, ValueError) as error:
            return str(error)
        return None

    def _measured(self) -> Sequence[tuple[int, int]]:
        """Width and height of every picture, (1, 1) of a broken one; kept by the set's content."""

        def sizes() -> list[tuple[int, int]]:
            with ThreadPoolExecutor(READERS) as pool:
                return list(pool.map(self._size_of, range(len(self._source.keys))))

        kept = cached(f"sizes {self._kind} {self._source.content}", sizes)
        return [(width, height) for width, height in kept]

    def _size_of(self, place: int) -> tuple[int, int]:
        try:
            picture = self._source.record(place).picture
            return upright_size(BytesIO(picture.content), picture.name)
        except (PictureError, ValueError):
            return 1, 1


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
