"""Which examples a data set of picture files has: splits, shapes, and what stands in for broken ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from ldmkit.errors import UserError
from ldmkit.pictures.broken import Broken
from ldmkit.pictures.cutting import Size
from ldmkit.pictures.lacking import Fields, Lack
from ldmkit.pictures.views import Views
from ldmkit.splits import held_out


class PictureExamples(ABC):
    """The examples of a data set of picture files, without a word on how they are shown.

    An example has a place in the whole set, a number from 0 on, and an index in the split. A subclass sets
    `_views` and `_max_broken` in its constructor, then calls `_open`.
    """

    _kind: ClassVar[str]
    """What recipes call the data set."""
    _views: Views
    _max_broken: float

    @abstractmethod
    def _size(self, place: int) -> Size:
        """Width and height of a picture; asked for only where `Views.measured` says so."""

    @abstractmethod
    def _name(self, place: int) -> str:
        """The name of an example in messages."""

    def _open(
        self,
        where: str,
        keys: Sequence[str],
        fields: tuple[str, ...],
        problems: dict[int, str],
        lacks: Mapping[int, Lack],
    ) -> None:
        """Takes the examples that can be used.

        where: what messages call the set. keys: by place, what splits follow. fields: what examples have.
        problems: why some are broken. lacks: what others lack, which matters where it is read. Raises
        UserError for fewer than two that can be used, and for more broken ones than `max_broken` allows.
        """
        self._keys = keys
        self._broken = Broken(where, len(keys), self._max_broken, problems)
        self._broken.check()
        whole = [place for place in range(len(keys)) if place not in problems]
        self._broken.check_enough(len(whole))
        self._whole = self._large(whole)
        lacks = {place: lacks[place] for place in self._whole if place in lacks}
        self._listed = Fields(fields, lacks)
        few = self._broken.fits(len(lacks)) and len(self._whole) - len(lacks) > 1
        self._take(fields if few else ())

    def __len__(self) -> int:
        return len(self._places)

    def shown(self, index: int) -> int:
        """The index of the example that stands in for one known to be broken; else the index itself."""
        return next(self._from(index), index)

    @cached_property
    def buckets(self) -> Sequence[Sequence[int]]:
        """The examples of each shape, where there are several."""
        buckets: dict[Size, list[int]] = {}
        for i, place in enumerate(self._places):
            buckets.setdefault(self._shape(place), []).append(i)
        return [buckets[shape] for shape in sorted(buckets)]

    @property
    def problems(self) -> Mapping[Path, str]:
        """Why examples are left out, as far as known, by their names in messages."""
        return {Path(self._name(place)): reason for place, reason in self._broken.reasons.items()}

    @property
    def skipped(self) -> Sequence[Path]:
        """The names of the examples that are left out, as far as known."""
        return tuple(self.problems)

    def name(self, index: int) -> str:
        """The name of an example in messages."""
        return self._name(self._places[index])

    def reading(self, fields: Collection[str]) -> Self:
        """The whole data set for what reads those fields (or their plurals): without the examples that lack
        one of them, which count as broken, and without fields that others lack."""
        if not self._listed.lacks:
            return self
        part = self._copy()
        part._take({*fields, *(f"{field}s" for field in fields)})
        part._broken.check()
        part._broken.check_enough(len(part))
        return part

    def split(self, name: str) -> Self:
        """The examples of one split; ValueError names the splits there are."""
        if name not in ("train", "validation"):
            raise ValueError(f"{self._kind} has no split '{name}'; there are train, validation")
        part, validating = self._copy(), name == "validation"
        part._places = [i for i in self._places if (self._keys[i] in self._held_out) == validating]
        return part

    def _copy(self) -> Self:
        part = copy(self)
        for name in ("digest", "picture_digest", "buckets"):
            part.__dict__.pop(name, None)
        return part

    def _take(self, read: Collection[str]) -> None:
        """Keeps the examples that have all of those fields, and the fields that all kept examples have."""
        left_out = self._listed.left_out(read)
        self.fields = self._listed.there(left_out)
        self._places = [place for place in self._whole if place not in left_out]
        self._broken = replace(self._broken, left_out=left_out)
        self._held_out = held_out(self._keys[place] for place in self._places)

    def _large(self, places: list[int]) -> list[int]:
        """The places whose pictures are not too small."""
        if not self._views.smallest:
            self._small = 0
            return places
        kept = [place for place in places if not self._views.too_small(self._size(place))]
        self._small = len(places) - len(kept)
        if len(kept) < 2:
            raise UserError(
                f"{len(kept)} of {len(places)} pictures in {self._broken.where} have {self._views.smallest} "
                "pixels a side; two are needed: lower smallest"
            )
        return kept

    def _from(self, index: int) -> Iterator[int]:
        """The indices from `index` on, and around to it, of examples of the same shape not known as
        broken."""
        count, places = len(self._places), self._places
        if not -count <= index < count:
            raise IndexError(index)
        around = ((index + i) % count for i in range(count))
        whole = (i for i in around if places[i] not in self._broken.problems)
        if self._views.crop != "buckets":
            return whole
        shape = self._shape(places[index])
        return (i for i in whole if self._shape(places[i]) == shape)

    def _shape(self, place: int) -> Size:
        return self._views.shape(self._size(place) if self._views.measured else (1, 1))
