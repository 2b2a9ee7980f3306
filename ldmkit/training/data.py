"""Examples as batches: decoded once where they fit in memory, read ahead in threads where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.pictures import normalize, read
from ldmkit.types import FieldKind, Image

MEMORY = 2 * 2**30
"""Bytes of decoded pictures that are kept."""
READERS = 8
Example = Mapping[str, Any]


class Examples:
    """One split's examples by index, kept after the first reading while they fit into `memory` bytes."""

    def __init__(self, dataset: Dataset, fields: Sequence[str] | None = None, memory: int = MEMORY) -> None:
        """fields: what is wanted of each example, by default everything; their plurals come along."""
        if len(dataset) == 0:
            raise UserError("data: a split holds no examples")
        self.digest = dataset.digest
        self._dataset = dataset
        self._wanted = None if fields is None else {*fields, *(plural(f) for f in fields)}
        self._kept: dict[int, Example] = {}
        self._coming: dict[int, Future[Example]] = {}
        self._readers = ThreadPoolExecutor(READERS)
        self._room = memory // _size(self._example(0))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Example:
        return self.read([index])[0]

    def read(self, indices: Sequence[int], then: Sequence[int] = ()) -> list[Example]:
        """The examples at those indices; those not in memory are read in threads, and `then` meanwhile."""
        for i in [*indices, *then]:
            if i not in self._kept and i not in self._coming:
                self._coming[i] = self._readers.submit(self._example, i)
        found = [self._arrived(i) for i in indices]
        for i in {*indices} - {*then}:
            self._coming.pop(i, None)
        return found

    def _arrived(self, index: int) -> Example:
        if index in self._kept:
            return self._kept[index]
        example = self._coming[index].result()
        if len(self._kept) < self._room:
            self._kept[index] = example
        return example

    def batches(self, size: int, limit: int | None = None) -> Iterator[list[Example]]:
        """All examples in order, or the first `limit`."""
        count = min(len(self), limit or len(self))
        for start in range(0, count, size):
            yield self.read(range(start, min(start + size, count)))

    def _example(self, index: int) -> Example:
        example = self._dataset[index]
        return {k: v for k, v in example.items() if self._wanted is None or k in self._wanted}


def plural(field: str) -> str:
    """The field that holds alternatives to choose among: "captions" for "caption"."""
    return f"{field}s"


def _size(example: Example) -> int:
    return sum(v.nbytes for v in example.values() if isinstance(v, Tensor)) + 1


def images_of(examples: Sequence[Example], flip: Bool[Tensor, " b"] | None = None) -> Image:
    """The pictures in [-1, 1], mirrored where `flip` says so."""
    flips = [flip is not None and bool(flip[i]) for i in range(len(examples))]
    pixels = [e["image"].flip(-1) if turn else e["image"] for e, turn in zip(examples, flips, strict=True)]
    return normalize(torch.stack(pixels))


def mirrored(value: Any, kind: FieldKind | None) -> Any:
    """A field's value as it is when its picture is mirrored from left to right, read where it names a file.

    kind: what the field holds; where nothing says so, a tensor of two dimensions or more is mirrored. Raises
    ValueError for boxes that are token ids already.
    """
    if kind in ("picture", "map", "mask"):
        return read(value, kind).flip(-1)
    if kind is None:
        return value.flip(-1) if isinstance(value, Tensor) and value.ndim > 1 else value
    return _mirrored_boxes(value) if kind == "boxes" else value


def _mirrored_boxes(objects: Any) -> Any:
    if isinstance(objects, Tensor) and objects.ndim < 2:
        raise ValueError("token ids of boxes cannot be mirrored: set flip: false")
    rows = objects.tolist() if isinstance(objects, Tensor) else objects
    return tuple((c, max(0.0, 1 - x - width), y, width, height) for c, x, y, width, height in rows)


def alternatives(example: Example, field: str) -> Sequence[Any]:
    """What training may choose among for a field: its plural's values, or its own alone."""
    return example.get(plural(field)) or (example[field],)


def raw_of(
    examples: Sequence[Example],
    fields: Sequence[str],
    choice: Int[Tensor, " b"] | None = None,
    flip: Bool[Tensor, " b"] | None = None,
    kinds: Mapping[str, FieldKind] | None = None,
) -> dict[str, Any]:
    """Raw condition inputs by field, as conditioners take them; pictures come in [-1, 1].

    choice: large random integers that pick one of several captions; without it the example's own is taken.
    flip: the pictures that are mirrored. kinds: what the fields hold, where a conditioner says so.
    """
    known = kinds or {}

    def value(i: int, field: str) -> Any:
        offered = (examples[i][field],) if choice is None else alternatives(examples[i], field)
        chosen = offered[0] if choice is None else offered[int(choice[i]) % len(offered)]
        if flip is None:
            return chosen
        kind = known.get(field)
        return mirrored(chosen, kind) if flip[i] else read(chosen, kind or "other")

    columns = {field: [value(i, field) for i in range(len(examples))] for field in fields}
    return {field: _column(values) for field, values in columns.items()}


def _column(values: list[Any]) -> Any:
    if len({v.shape if isinstance(v, Tensor) else None for v in values} | {None}) != 2:
        return values
    stacked = torch.stack(values)
    picture = stacked.dtype == torch.uint8 and stacked.ndim == 4 and stacked.shape[1] == 3
    return normalize(stacked) if picture else stacked
