"""Examples of any source of encoded pictures: which are broken, how large they are, what they show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from ldmkit.pictures import (
    Cut,
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
    """The content of a picture file, and what messages call it."""

    content: bytes
    name: str


@dataclass(frozen=True)
class Record:
    """One example as it is stored: its picture, and the values of its fields."""

    picture: Encoded
    values: Mapping[str, Any]


class Source(Protocol):
    """Records by their place, in the order of their keys.

    where: what messages call all of it. problems: those that are known as unusable, by place, with the
    reason. content: a digest of what is stored. files: the same of each file.
    """

    where: str
    keys: Sequence[str]
    fields: tuple[str, ...]
    problems: Mapping[int, str]
    content: str
    files: Mapping[str, str]

    def name(self, place: int) -> str:
        """What messages call a record."""

    def record(self, place: int) -> Record:
        """Raises ValueError or PictureError for a broken one, UserError where its file changed or is gone."""


class Examples(PictureData):
    """The data set of a source, which a subclass hands to `_take_from`.

    Where the sizes of all pictures are needed (buckets, `smallest`), headers are read once, when the set is
    first seen.
    """

    def _take_from(self, source: Source) -> None:
        self._source = source
        problems = {**source.problems, **self._damaged()}
        self._sizes = self._measured() if self._views.measured else []
        self._open(source.where, source.keys, source.fields, problems, {})

    @cached_property
    def digest(self) -> str:
        """Of what is stored, which of it is used, and the settings."""
        return _digest([self._source.content, *self._settings, self._places])

    @property
    def contents(self) -> Mapping[str, str]:
        """A digest of each file, by its name: a line can then say which have changed."""
        return self._source.files

    @cached_property
    def picture_digest(self) -> str:
        """Of the pictures alone, as they are shown where nothing is drawn."""
        return _digest(["pictures", self._source.content, *self._picture_settings, self._places])

    def _size(self, place: int) -> tuple[int, int]:
        return self._sizes[place]

    def _name(self, place: int) -> str:
        return self._source.name(place)

    def _example(self, place: int, fields: Collection[str], key: int | None) -> Mapping[str, Any]:
        try:
            return self._shown(self._source.record(place), fields, key)
        except (PictureError, ValueError) as error:
            raise ValueError(f"{self._name(place)}: {error}") from error

    def _shown(self, record: Record, names: Collection[str], key: int | None) -> Mapping[str, Any]:
        """The picture is decoded where it is wanted, or a field that is cut with it."""
        cut, image = None, {}
        if "image" in names or any(self._is_cut(record.values.get(f), f) for f in names):
            content, name = record.picture.content, record.picture.name
            drawn = key if "image" in names else None
            cut, pixels = decode_bytes(content, name, lambda p: self._views.picture(p, drawn))
            image = {"image": pixels} if "image" in names else {}
        if missing := [f for f in self._source.fields if record.values.get(f) is None]:
            raise ValueError(f"has no '{missing[0]}'")
        fields = [f for f in self._source.fields if f in names]
        return {**image, **{f: self._value(f, record.values, cut, key) for f in fields}}

    def _is_cut(self, value: Any, field: str) -> bool:
        return isinstance(value, Encoded | Tensor) or self._kinds.get(field) == "boxes"

    def _value(self, field: str, values: Mapping[str, Any], cut: Cut | None, key: int | None) -> Any:
        """A field's value; pictures as "picture" where nothing says what they hold."""
        value, kind = values[field], self._kinds.get(field)
        if self._is_text(field):
            return self._views.text(value, key)
        if cut is None:
            return value
        if kind == "boxes":
            return cut.boxes(value)
        if isinstance(value, Encoded):
            return decode_bytes(
                value.content, value.name, lambda p: self._of_picture(p, kind or "picture", cut)
            )
        return cut.nearest(value) if kind in ("map", "mask") else value

    def _of_picture(self, picture: Image.Image, kind: FieldKind, cut: Cut) -> Tensor:
        if kind == "picture":
            return to_tensor(cut.other(flatten(picture, self._views.background)))
        if kind == "map" and picture.format == "JPEG":
            raise ValueError("a map as JPEG, which does not keep class ids: save it as PNG")
        return cut.nearest(read(picture, kind))

    def _damaged(self) -> dict[int, str]:
        """What reading all records of a small set finds, kept by the set's content."""
        places = [i for i in range(len(self._source.keys)) if i not in self._source.problems]
        if len(places) > DECODED:
            return {}

        def damage() -> list[tuple[int, str]]:
            with ThreadPoolExecutor(READERS) as pool:
                problems = pool.map(self._problem, places)
                return [(i, problem) for i, problem in zip(places, problems, strict=True) if problem]

        kept = cached(f"damage {self._kind} {self._source.content}", damage)
        return {place: f"{self._name(place)}: {problem}" for place, problem in kept}

    def _problem(self, place: int) -> str | None:
        try:
            self._shown(self._source.record(place), {"image", *self._source.fields}, None)
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
