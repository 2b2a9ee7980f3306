"""Examples of any source of encoded pictures: splits, cuts, and what is left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.pictures import Cut, PictureError, Views, decode_bytes, flatten, read, to_tensor, upright_size
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
    stored. files: the same of each file.
    """

    keys: Sequence[str]
    fields: tuple[str, ...]
    problems: Mapping[int, str]
    content: str
    files: Mapping[str, str]

    def name(self, place: int) -> str:
        """What messages call a record."""

    def record(self, place: int) -> Record:
        """Raises ValueError or PictureError for a broken one, UserError where its file changed or is gone."""


class Examples:
    """The data set of a source, cut as `views` say.

    Where these need the sizes of all pictures (buckets, `smallest`), headers are read once, when the set is
    first seen. Raises UserError for fewer than two whole pictures, and for more broken ones than `max_broken`
    allows.
    """

    def __init__(self, kind: str, source: Source, views: Views, max_broken: float) -> None:
        self._kind, self._source, self._views, self._max_broken = kind, source, views, max_broken
        self.fields = source.fields
        self._kinds: Mapping[str, FieldKind] = {}
        self.problems = {**source.problems, **self._damaged()}
        self._sizes = self._measured() if views.measured else []
        self._check()
        whole = [i for i in range(len(source.keys)) if i not in self.problems]
        self._places = [i for i in whole if not (self._sizes and views.too_small(self._sizes[i]))]
        self._small = len(whole) - len(self._places)
        if len(self._places) < 2:
            raise UserError(f"{len(self._places)} usable pictures; two are needed")
        self._late: set[int] = set()
        self._held_out = held_out(source.keys[i] for i in self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.view(index)

    def view(
        self, index: int, fields: Collection[str] | None = None, key: int | None = None
    ) -> Mapping[str, Any]:
        """The example, or those of its fields alone; drawn by `key`, where tags or crops are drawn at random
        (the crop only where "image" is among the fields)."""
        names = {"image", *self.fields} if fields is None else fields
        for i in self._from(index):
            place = self._places[i]
            try:
                return self._example(self._source.record(place), names, key)
            except (PictureError, ValueError) as error:
                self._late.add(place)
                self.problems[place] = f"{self._source.name(place)}: {error}"
                self._check()
        raise UserError(f"none of the {len(self)} pictures of a split can be read")

    def shown(self, index: int) -> int:
        """The example that stands in for one that is known as broken by now; else the index itself."""
        return next(self._from(index), index)

    @property
    def drawn(self) -> Sequence[str]:
        """The fields that differ from key to key of `view`."""
        of_texts = [f for f in self.fields if self._is_text(f)] if "text" in self._views.drawn else []
        return (*(("image",) if "image" in self._views.drawn else ()), *of_texts)

    @cached_property
    def buckets(self) -> Sequence[Sequence[int]]:
        """The examples of each shape, where there are several."""
        buckets: dict[tuple[int, int], list[int]] = {}
        for i, place in enumerate(self._places):
            buckets.setdefault(self._shape(place), []).append(i)
        return [buckets[shape] for shape in sorted(buckets)]

    @property
    def notes(self) -> Sequence[str]:
        """What a person may want to know of the choice of pictures."""
        return self._views.notes(self._small, (self._shape(place) for place in self._places))

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
        part, keys, validating = self._copy(), self._source.keys, name == "validation"
        part._places = [i for i in self._places if (keys[i] in self._held_out) == validating]
        return part

    @cached_property
    def digest(self) -> str:
        """Of what is stored, which of it is used, and the settings."""
        settings = [self._source.content, self._views.size, self._views.background]
        more = [self._views.settings] if self._views.settings else []
        return _digest([*settings, sorted(self._kinds.items()), *more, self._places])

    @property
    def contents(self) -> Mapping[str, str]:
        """A digest of each file, by its name: a line can then say which have changed."""
        return self._source.files

    @cached_property
    def picture_digest(self) -> str:
        """Of the pictures alone, as they are shown where nothing is drawn."""
        settings = {k: v for k, v in self._views.settings.items() if not k.endswith("_tags")}
        shown = [self._views.size, self._views.background, settings]
        return _digest(["pictures", self._source.content, *shown, self._places])

    def _copy(self) -> Examples:
        part = copy(self)
        for name in ("digest", "picture_digest", "buckets"):
            part.__dict__.pop(name, None)
        return part

    def _from(self, index: int) -> Iterator[int]:
        """The indices from `index` on, around, of its shape, whose places are not known as broken."""
        count, places = len(self._places), self._places
        if not -count <= index < count:
            raise IndexError(index)
        indices = ((index + i) % count for i in range(count))
        whole = (i for i in indices if places[i] not in self._late)
        if self._views.crop != "buckets":
            return whole
        shape = self._shape(places[index])
        return (i for i in whole if self._shape(places[i]) == shape)

    def _shape(self, place: int) -> tuple[int, int]:
        return self._views.shape(self._sizes[place]) if self._sizes else self._views.shape((1, 1))

    def _is_text(self, field: str) -> bool:
        return "text" in (self._kinds.get(field), self._kinds.get(field.removesuffix("s")))

    def _example(self, record: Record, names: Collection[str], key: int | None) -> Mapping[str, Any]:
        """The picture is decoded where it is wanted, or a field that is cut with it."""
        cut, image = None, {}
        if "image" in names or any(self._is_cut(record.values.get(f), f) for f in names):
            content, name = record.picture.content, record.picture.name
            drawn = key if "image" in names else None
            cut, pixels = decode_bytes(content, name, lambda p: self._views.picture(p, drawn))
            image = {"image": pixels} if "image" in names else {}
        if missing := [f for f in self.fields if record.values.get(f) is None]:
            raise ValueError(f"has no '{missing[0]}'")
        fields = [f for f in self.fields if f in names]
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
        return {place: f"{self._source.name(place)}: {problem}" for place, problem in kept}

    def _problem(self, place: int) -> str | None:
        try:
            self._example(self._source.record(place), {"image", *self.fields}, None)
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

    def _check(self) -> None:
        """UserError where more examples are broken than allowed."""
        broken, total = len(self.problems), len(self._source.keys)
        if broken > self._max_broken * total:
            first = "; ".join(text[:200] for text in list(self.problems.values())[:SHOWN])
            raise UserError(
                f"{broken} of {total} pictures cannot be used, more than max_broken "
                f"{self._max_broken:g} allows: {first}{'; ...' if broken > SHOWN else ''}"
            )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
