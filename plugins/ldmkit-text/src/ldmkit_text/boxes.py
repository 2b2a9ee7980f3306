"""Layouts as tokens: objects with their boxes, as the paper's layout model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isqrt
from numbers import Real
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

PER_OBJECT = 3
CROP = 2


def capacity(length: int) -> int:
    """How many objects fit; ValueError where `length` is not 3 a object and 2 for the crop."""
    objects, rest = divmod(length - CROP, PER_OBJECT)
    if rest or objects < 1:
        raise ValueError(
            f"length {length}: a layout has 3 tokens an object and 2 for the crop (92: 30 objects)"
        )
    return objects


def corner(x: float, y: float, vocabulary: int) -> int:
    """A point in [0, 1]^2 as one token: row by row on a grid of isqrt(vocabulary) steps a side."""
    side = isqrt(vocabulary)
    return round(y * (side - 1)) * side + round(x * (side - 1))


def is_layout(raw: Any) -> bool:
    """Whether it is a list of layouts, each a list of (class, x, y, width, height); ids are one level
    flatter."""
    if not isinstance(raw, list | tuple) or not raw:
        return False
    return all(
        isinstance(picture, list | tuple) and all(isinstance(row, list | tuple) for row in picture)
        for picture in raw
    )


def encode_layouts(layouts: Any, field: str, length: int, vocabulary: int) -> Int[Tensor, "b l"]:
    """Tokens of each picture's objects: class, upper left corner, lower right corner; then those of the crop,
    here the whole picture. What is left over holds vocabulary - 1, which stands for nothing.

    Raises ValueError for a box outside [0, 1], a class outside the vocabulary, too many objects.
    """
    return torch.tensor([_encode(objects, field, length, vocabulary) for objects in layouts])


def _encode(objects: Sequence[Sequence[float]], field: str, length: int, vocabulary: int) -> list[int]:
    if len(objects) > capacity(length):
        raise ValueError(f"{field}: {len(objects)} objects; at most {capacity(length)} are read")
    tokens = [t for row in objects for t in _object(row, field, vocabulary)]
    tokens += [vocabulary - 1] * (length - CROP - len(tokens))
    return [*tokens, corner(0, 0, vocabulary), corner(1, 1, vocabulary)]


def _object(row: Sequence[float], field: str, vocabulary: int) -> tuple[int, int, int]:
    if len(row) != 5 or not all(isinstance(x, Real) and isfinite(x) for x in row):
        raise ValueError(f"{field}: an object is five numbers, [class, x, y, width, height], not {list(row)}")
    kind, x, y, width, height = row
    if kind != int(kind) or not 0 <= kind < vocabulary - 1:
        raise ValueError(f"{field}: class {kind}; expects an integer from 0 to {vocabulary - 2}")
    if min(x, y, width, height) < 0 or max(x + width, y + height) > 1 + 1e-6:
        raise ValueError(
            f"{field}: box {tuple(row[1:])}; expects x, y, width, height within the picture's [0, 1]"
        )
    return int(kind), corner(x, y, vocabulary), corner(min(x + width, 1), min(y + height, 1), vocabulary)
