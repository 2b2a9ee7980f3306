"""The base of data sets of picture files: their options, and how an example is read and shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, PositiveInt

from ldmkit.errors import UserError
from ldmkit.pictures.examples import PictureExamples
from ldmkit.pictures.files import RULES, PictureError
from ldmkit.pictures.views import Crop, Scale, Views
from ldmkit.types import FieldKind


class PictureData(PictureExamples):
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

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=4096)],
        crop: Crop = "center",
        crop_scale: Scale = (0.5, 1.0),
        bucket_step: PositiveInt = 64,
        smallest: NonNegativeInt = 0,
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
    def _example(self, place: int, fields: Collection[str], key: int | None) -> Mapping[str, Any]:
        """Those fields of an example, drawn by `key`. Raises PictureError or ValueError for a broken one,
        with a message that names it."""

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

    @property
    def drawn(self) -> Sequence[str]:
        """The fields that differ from key to key of `view`."""
        of_texts = [f for f in self.fields if self._is_text(f)] if "text" in self._views.drawn else []
        return (*(("image",) if "image" in self._views.drawn else ()), *of_texts)

    @property
    def notes(self) -> Sequence[str]:
        """Lines for a person about the choice of pictures."""
        shapes = (self._shape(place) for place in self._places)
        return [*self._listed.notes(self.fields), *self._views.notes(self._small, shapes)]

    def aligned(self, kinds: Mapping[str, FieldKind]) -> Self:
        """The data set with those of its fields that hold pictures, masks or class maps as tensors ("3 h w",
        "H W", "H W") cut as the picture is, and boxes within what is cut out."""
        part = self._copy()
        part._kinds = {f: kind for f, kind in kinds.items() if f in self.fields}
        part._broken = replace(self._broken, problems=dict(self._broken.problems))
        return part

    @property
    def _settings(self) -> list[Any]:
        """The options that are part of a digest of the examples."""
        views, kinds = self._views, sorted(self._kinds.items())
        return [views.size, views.background, kinds, *([views.settings] if views.settings else [])]

    @property
    def _picture_settings(self) -> list[Any]:
        """The options that are part of a digest of the pictures alone, shown without random draws."""
        settings = {k: v for k, v in self._views.settings.items() if not k.endswith("_tags")}
        return [self._views.size, self._views.background, settings, RULES]

    def _is_text(self, field: str) -> bool:
        return "text" in (self._kinds.get(field), self._kinds.get(field.removesuffix("s")))
