"""What data sets of picture files have in common: options, splits, shapes, and what stands in for what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from ldmkit.errors import UserError
from ldmkit.pictures.broken import Broken
from ldmkit.pictures.cutting import Size
from ldmkit.pictures.files import PictureError
from ldmkit.pictures.lacking import Fields, Lack
from ldmkit.pictures.views import Crop, Scale, Views
from ldmkit.splits import held_out
from ldmkit.types import FieldKind


class PictureData(ABC):
    """Base of data sets of picture files. A subclass finds the examples, and calls `_open` with them.

    Each example has a place, a number from 0 on. Broken ones are left out and listed in `skipped`, with
    reasons in `problems`; where one turns out broken later, the next whole one of its shape stands in.
    Splits by a hash of each example's key: "train", and "validation" with about 5 % (at least one example).

    Args:
        size: height and width of the examples; with buckets, of the square that has their area.
        crop: center: the shorter side is resized to `size`, then the middle cut out. random: at each step of
            a training a square is drawn and resized. pad: all of the picture, on `background`. buckets: each
            picture goes to the nearest of several shapes, and each batch has one shape.
        crop_scale: the range from which a random square's side is drawn, as a share of the shorter side.
        bucket_step: sides of buckets are multiples of it; their ratio is two at most.
        smallest: pictures whose shorter side has fewer pixels are left out.
        shuffle_tags: captions are tags between commas, whose order is drawn anew at each step.
        drop_tags: the probability with which a training leaves out each tag, but never all.
        background: what transparent pictures lie on, a colour name or "#rrggbb".
        max_broken: the share of broken pictures up to which they are left out instead of being an error.
    """

    _kind: ClassVar[str]
    """What recipes call the data set."""

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=4096)],
        crop: Crop = "center",
        crop_scale: Scale = (0.5, 1.0),
        bucket_step: Annotated[int, Field(ge=1)] = 64,
        smallest: Annotated[int, Field(ge=0)] = 0,
        shuffle_tags: bool = False,
        drop_tags: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        background: str = "white",
        max_broken: Annotated[float, Field(ge=0, le=1)] = 0.05,
    ) -> None:
        self._views = Views(
            size, background, crop, crop_scale, bucket_step, smallest, shuffle_tags, drop_tags
        )
        self._max_broken = max_broken
        self._kinds: Mapping[str, FieldKind] = {}

    @abstractmethod
    def _size(self, place: int) -> Size:
        """Width and height of a picture; asked for only where `Views.measured` says so."""

    @abstractmethod
    def _name(self, place: int) -> str:
        """What messages call an example."""

    @abstractmethod
    def _example(self, place: int, fields: Collection[str], key: int | None) -> Mapping[str, Any]:
        """Those fields of an example, drawn by `key`. Raises PictureError or ValueError for a broken one,
        with a message that names it."""

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

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.view(index)

    def view(
        self, index: int, fields: Collection[str] | None = None, key: int | None = None
    ) -> Mapping[str, Any]:
        """The example, or those of its fields alone; drawn by `key`, where tags or crops are drawn at random
        (the crop only where "image" is among the fields)."""
        names = {"image", *self.fields} if fields is None else fields
        for i in self._from(index):
            try:
                return self._example(self._places[i], names, key)
            except (PictureError, ValueError) as error:
                self._broken.add(self._places[i], str(error))
        raise UserError(f"none of the {len(self)} pictures of a split of {self._broken.where} can be read")

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
        buckets: dict[Size, list[int]] = {}
        for i, place in enumerate(self._places):
            buckets.setdefault(self._shape(place), []).append(i)
        return [buckets[shape] for shape in sorted(buckets)]

    @property
    def notes(self) -> Sequence[str]:
        """What a person may want to know of the choice of pictures."""
        shapes = (self._shape(place) for place in self._places)
        return [*self._listed.notes(self.fields), *self._views.notes(self._small, shapes)]

    @property
    def problems(self) -> Mapping[Path, str]:
        """Why examples are left out, as far as is known by now, by what messages call them."""
        return {Path(self._name(place)): reason for place, reason in self._broken.reasons.items()}

    @property
    def skipped(self) -> Sequence[Path]:
        """The examples that are left out, as far as is known by now."""
        return tuple(self.problems)

    def name(self, index: int) -> str:
        """What messages call an example."""
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

    def aligned(self, kinds: Mapping[str, FieldKind]) -> Self:
        """The data set with those of its fields that hold pictures, masks or class maps as tensors ("3 h w",
        "H W", "H W") cut as the picture is, and boxes within what is cut out."""
        part = self._copy()
        part._kinds = {f: kind for f, kind in kinds.items() if f in self.fields}
        part._broken = replace(self._broken, problems=dict(self._broken.problems))
        return part

    def split(self, name: str) -> Self:
        """The examples of one split; ValueError names the splits there are."""
        if name not in ("train", "validation"):
            raise ValueError(f"{self._kind} has no split '{name}'; there are train, validation")
        part, validating = self._copy(), name == "validation"
        part._places = [i for i in self._places if (self._keys[i] in self._held_out) == validating]
        return part

    @property
    def _settings(self) -> list[Any]:
        """What of the options a digest of the examples has in it."""
        views, kinds = self._views, sorted(self._kinds.items())
        return [views.size, views.background, kinds, *([views.settings] if views.settings else [])]

    @property
    def _picture_settings(self) -> list[Any]:
        """The same of a digest of the pictures alone, as they are shown where nothing is drawn."""
        settings = {k: v for k, v in self._views.settings.items() if not k.endswith("_tags")}
        return [self._views.size, self._views.background, settings]

    def _copy(self) -> Self:
        part = copy(self)
        for name in ("digest", "picture_digest", "buckets"):
            part.__dict__.pop(name, None)
        return part

    def _take(self, read: Collection[str]) -> None:
        """Takes the examples that lack none of those fields, and the fields that all of them have."""
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
        """The indices from `index` on, around, of its shape, whose examples are not known as broken."""
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

    def _is_text(self, field: str) -> bool:
        return "text" in (self._kinds.get(field), self._kinds.get(field.removesuffix("s")))
