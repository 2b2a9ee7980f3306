"""A data set with one more field that is drawn at random from each example."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, overload

import numpy as np
from torch import Tensor

from ldmkit.interfaces import Dataset, example_name
from ldmkit.types import FieldKind

VARIANTS = 4096
"""How many different draws an example offers."""
Draw = Callable[[Tensor, np.random.Generator], Tensor]
"""From a picture (uint8 "3 H W") and a generator to the field's value."""


class Variants(Sequence[Tensor]):
    """The draws of one example: each is computed when it is first read and is the same every time."""

    def __init__(self, draw: Draw, image: Tensor, seed: tuple[int, ...]) -> None:
        self._draw, self._image, self._seed = draw, image, seed

    def __len__(self) -> int:
        return VARIANTS

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        if not -VARIANTS <= index < VARIANTS:
            raise IndexError(index)
        return self._draw(self._image, np.random.default_rng((*self._seed, index % VARIANTS)))


class WithField:
    """The examples of `of` with a field drawn from the picture.

    Training picks another draw at every step, as it picks among several captions: the plural of the field's
    name holds the draws, the field itself the first of them, which validation and evaluation take.
    """

    def __init__(self, of: Dataset, field: str, draw: Draw, seed: int, settings: str) -> None:
        if field in of.fields or field == "image":
            raise ValueError(f"field '{field}': the data set within has it already")
        self._of, self._field, self._draw, self._seed, self._settings = of, field, draw, seed, settings

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the inner data set, the drawn field, and its plural."""
        return (*self._of.fields, self._field, f"{self._field}s")

    @property
    def digest(self) -> str:
        """A digest of the inner data set and of what determines the draws."""
        return hashlib.sha256(f"{self._of.digest} {self._settings}".encode()).hexdigest()

    @property
    def contents(self) -> Mapping[str, str] | None:
        """The contents of the inner data set, where it has them."""
        return getattr(self._of, "contents", None)

    @property
    def skipped(self) -> Sequence[Path]:
        """The broken files that the inner data set has left out."""
        return self._of.skipped

    @property
    def problems(self) -> Mapping[Path, str]:
        """Why the inner data set has left files out, where it says so."""
        return getattr(self._of, "problems", {})

    @property
    def notes(self) -> Sequence[str]:
        """What the inner data set says of its choice of pictures."""
        return getattr(self._of, "notes", ())

    @property
    def class_names(self) -> Mapping[str, Sequence[str]]:
        """What the inner data set calls the classes of its fields."""
        return getattr(self._of, "class_names", {})

    def name(self, index: int) -> str:
        """The inner data set's name of an example."""
        return example_name(self._of, index)

    def __len__(self) -> int:
        return len(self._of)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.view(index)

    def view(
        self, index: int, fields: Collection[str] | None = None, key: int | None = None
    ) -> Mapping[str, Any]:
        """The example, or some of its fields, drawn by `key` where the data set within draws."""
        own = (self._field, f"{self._field}s")
        if fields is not None and not {*own} & {*fields}:
            return self._within(index, fields, key)
        inner = None if fields is None else {"image", *fields} - {*own}
        example = dict(self._within(index, inner, key if fields is None or "image" in fields else None))
        variants = Variants(self._draw, example["image"], (self._seed, index))
        whole = {**example, self._field: variants[0], f"{self._field}s": variants}
        return whole if fields is None else {f: v for f, v in whole.items() if f in fields}

    def _within(self, index: int, fields: Collection[str] | None, key: int | None) -> Mapping[str, Any]:
        show = getattr(self._of, "view", None)
        if show is not None:
            view: Mapping[str, Any] = show(index, fields, key)
            return view
        example = self._of[index]
        return example if fields is None else {f: v for f, v in example.items() if f in fields}

    @property
    def drawn(self) -> Sequence[str]:
        """The fields that the inner data set draws at random."""
        return tuple(getattr(self._of, "drawn", ()))

    @property
    def buckets(self) -> Sequence[Sequence[int]]:
        """The examples of each shape, as the data set within says it; AttributeError where it does not."""
        within: Any = self._of
        return tuple(within.buckets)

    def shown(self, index: int) -> int:
        """The example that stands in for a broken one."""
        shown = getattr(self._of, "shown", None)
        return index if shown is None else int(shown(index))

    def reading(self, fields: Collection[str]) -> WithField:
        """The data set within for what reads those fields."""
        read = getattr(self._of, "reading", None)
        if read is None:
            return self
        part = copy(self)
        part._of = read(fields)
        return part

    def aligned(self, kinds: Mapping[str, FieldKind]) -> WithField:
        """With the fields of the data set within cut as its pictures are."""
        align = getattr(self._of, "aligned", None)
        if align is None:
            return self
        part = copy(self)
        part._of = align(kinds)
        return part

    def split(self, name: str) -> WithField:
        """The examples of one split of the data set within; ValueError names the splits there are."""
        part = copy(self)
        part._of = self._of.split(name)
        return part
