"""A data set with one more field that is drawn at random from each example."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, overload

import numpy as np
from torch import Tensor

from ldmkit.interfaces import Dataset
from ldmkit.types import FieldKind

VARIANTS = 4096
"""How many different draws an example offers."""
Draw = Callable[[Tensor, np.random.Generator], Tensor]
"""From a picture (uint8 "3 H W") and a generator to the field's value."""


class Variants(Sequence[Tensor]):
    """The draws of one example, each computed when it is asked for and the same every time."""

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
        """Those of the data set within, the drawn one, and its plural."""
        return (*self._of.fields, self._field, f"{self._field}s")

    @property
    def digest(self) -> str:
        """Of the data set within and of what determines the draws."""
        return hashlib.sha256(f"{self._of.digest} {self._settings}".encode()).hexdigest()

    @property
    def skipped(self) -> Sequence[Path]:
        """The broken files that the data set within left out."""
        return self._of.skipped

    def __len__(self) -> int:
        return len(self._of)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        example = self._of[index]
        variants = Variants(self._draw, example["image"], (self._seed, index))
        return {**example, self._field: variants[0], f"{self._field}s": variants}

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
