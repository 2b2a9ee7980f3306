"""Examples of any source of encoded pictures: splits, cuts, and what is left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageColor
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.pictures import Cut, PictureError, decode_bytes, flatten, middle, read, to_tensor
from ldmkit.splits import held_out
from ldmkit.types import FieldKind
from ldmkit_shards.files import cached

DECODED = 4096
"""Examples up to which all are read when a data set is first seen, so that damage is found then."""
READERS = 8
SHOWN = 5
"""How many broken examples an error names."""


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

    problems: those that are known as unusable, by place, with the reason. content: a digest of what is
    stored.
    """

    keys: Sequence[str]
    fields: tuple[str, ...]
    problems: Mapping[int, str]
    content: str

    def name(self, place: int) -> str:
        """What messages call a record."""

    def record(self, place: int) -> Record:
        """Raises ValueError or PictureError for a broken one, UserError where its file changed or is gone."""


class Examples:
    """The data set of a source: squares of `size`, cut around the middle of each picture.

    Raises UserError for fewer than two whole pictures, and for more broken ones than `max_broken` allows.
    """

    def __init__(self, kind: str, source: Source, size: int, background: str, max_broken: float) -> None:
        try:
            ImageColor.getrgb(background)
        except ValueError:
            raise UserError(f"{kind}: unknown colour '{background}' as background") from None
        self._kind, self._source, self._size = kind, source, size
        self._background, self._max_broken = background, max_broken
        self.fields = source.fields
        self._kinds: Mapping[str, FieldKind] = {}
        self.problems = {**source.problems, **self._damaged()}
        self._check()
        self._places = [i for i in range(len(source.keys)) if i not in self.problems]
        if len(self._places) < 2:
            raise UserError(f"{kind}: {len(self._places)} usable pictures; two are needed")
        self._late: set[int] = set()
        self._held_out = held_out(source.keys[i] for i in self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        for place in self._from(index):
            try:
                return self._example(self._source.record(place))
            except (PictureError, ValueError) as error:
                self._late.add(place)
                self.problems[place] = f"{self._source.name(place)}: {error}"
                self._check()
        raise UserError(f"{self._kind}: none of the {len(self)} pictures of a split can be read")

    @property
    def skipped(self) -> Sequence[Path]:
        """What messages call the broken examples that are known by now."""
        return tuple(Path(self._source.name(place)) for place in self.problems)

    def name(self, index: int) -> str:
        """What messages call an example."""
        return self._source.name(self._places[index])

    def aligned(self, kinds: Mapping[str, FieldKind]) -> Examples:
        """The data set with those of its fields that hold pictures, masks or class maps cut as the picture
        is ("3 h w", "H W", "H W"), and boxes within what is cut out."""
        part = self._copy()
        part._kinds = {f: kind for f, kind in kinds.items() if f in self.fields}
        part.problems, part._late = dict(self.problems), set()
        return part

    def split(self, name: str) -> Examples:
        """The examples of one split; ValueError names the splits there are."""
        if name not in ("train", "validation"):
            raise ValueError(f"{self._kind} has no split '{name}'; there are train, validation")
        part, keys, wanted = self._copy(), self._source.keys, name == "validation"
        part._places = [i for i in self._places if (keys[i] in self._held_out) == wanted]
        return part

    @cached_property
    def digest(self) -> str:
        """Of what is stored, which of it is used, and the settings."""
        settings = [self._source.content, self._size, self._background, sorted(self._kinds.items())]
        return hashlib.sha256(json.dumps([*settings, self._places]).encode()).hexdigest()

    def _copy(self) -> Examples:
        part = copy(self)
        part.__dict__.pop("digest", None)
        return part

    def _from(self, index: int) -> Iterator[int]:
        """The places from `index` on, around, that are not known as broken."""
        count = len(self._places)
        if not -count <= index < count:
            raise IndexError(index)
        places = (self._places[(index + i) % count] for i in range(count))
        return (place for place in places if place not in self._late)

    def _example(self, record: Record) -> Mapping[str, Any]:
        cut, pixels = decode_bytes(record.picture.content, record.picture.name, self._cut)
        values = {f: self._value(f, record.values, cut) for f in self.fields}
        return {"image": pixels, **values}

    def _cut(self, picture: Image.Image) -> tuple[Cut, Tensor]:
        cut = middle(picture.size, (self._size, self._size))
        return cut, to_tensor(cut.picture(flatten(picture, self._background)))

    def _value(self, field: str, values: Mapping[str, Any], cut: Cut) -> Any:
        """A field's value; pictures as "picture" where nothing says what they hold."""
        if values.get(field) is None:
            raise ValueError(f"has no '{field}'")
        value, kind = values[field], self._kinds.get(field)
        if kind == "boxes":
            return cut.boxes(value)
        if isinstance(value, Encoded):
            return decode_bytes(
                value.content, value.name, lambda p: self._of_picture(p, kind or "picture", cut)
            )
        return cut.nearest(value) if kind in ("map", "mask") else value

    def _of_picture(self, picture: Image.Image, kind: FieldKind, cut: Cut) -> Tensor:
        if kind == "picture":
            return to_tensor(cut.other(flatten(picture, self._background)))
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
        return {place: f"{self._source.name(place)}: {problem}" for place, problem in kept}

    def _problem(self, place: int) -> str | None:
        try:
            self._example(self._source.record(place))
        except (PictureError, ValueError) as error:
            return str(error)
        return None

    def _check(self) -> None:
        """UserError where more examples are broken than allowed."""
        broken, total = len(self.problems), len(self._source.keys)
        if broken > self._max_broken * total:
            first = "; ".join(text[:200] for text in list(self.problems.values())[:SHOWN])
            raise UserError(
                f"{self._kind}: {broken} of {total} pictures cannot be used, more than max_broken "
                f"{self._max_broken:g} allows: {first}{'; ...' if broken > SHOWN else ''}"
            )
