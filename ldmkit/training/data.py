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
from ldmkit.pictures import normalize
from ldmkit.types import Image

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
    return normalize(torch.stack([mirrored(e["image"], i, flip) for i, e in enumerate(examples)]))


def mirrored(value: Any, i: int, flip: Bool[Tensor, " b"] | None) -> Any:
    """A picture, map or mask (a tensor of two dimensions or more) mirrored where `flip[i]`; else as it is."""
    if flip is None or not flip[i] or not isinstance(value, Tensor) or value.ndim < 2:
        return value
    return value.flip(-1)


def alternatives(example: Example, field: str) -> Sequence[Any]:
    """What training may choose among for a field: its plural's values, or its own alone."""
    return example.get(plural(field)) or (example[field],)


def raw_of(
    examples: Sequence[Example],
    fields: Sequence[str],
    choice: Int[Tensor, " b"] | None = None,
    flip: Bool[Tensor, " b"] | None = None,
) -> dict[str, Any]:
    """Raw condition inputs by field, as conditioners take them; pictures come in [-1, 1].

    choice: large random integers that pick one of several captions; without it the example's own is taken.
    """

    def value(i: int, field: str) -> Any:
        if choice is None:
            return examples[i][field]
        offered = alternatives(examples[i], field)
        return mirrored(offered[int(choice[i]) % len(offered)], i, flip)

    columns = {field: [value(i, field) for i in range(len(examples))] for field in fields}
    return {field: _column(values) for field, values in columns.items()}


def _column(values: list[Any]) -> Any:
    if not isinstance(values[0], Tensor):
        return values
    stacked = torch.stack(values)
    picture = stacked.dtype == torch.uint8 and stacked.ndim == 4 and stacked.shape[1] == 3
    return normalize(stacked) if picture else stacked
