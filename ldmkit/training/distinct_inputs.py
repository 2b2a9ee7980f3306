"""The distinct inputs that training may hand to a conditioner."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor

from ldmkit.training.data import Examples, alternatives

READ = 1024
"""Examples read at a time where all are looked through."""


def key_of(values: Sequence[Any]) -> Hashable:
    """An input's content: texts and numbers as they are, id sequences as tuples."""
    return tuple(tuple(v.tolist()) if isinstance(v, Tensor) else v for v in values)


def hash_of(values: Sequence[Any]) -> int:
    """64 bits of an input's content: among a million inputs a collision has a chance of 1 in 40 million."""
    return int.from_bytes(hashlib.sha256(repr(key_of(values)).encode()).digest()[:8], signed=True)


class DistinctInputs:
    """Every distinct input that training may draw from the examples: a hash, and where it was first seen."""

    def __init__(self, examples: Examples, fields: Sequence[str]) -> None:
        self._examples, self._fields = examples, fields
        hashes: dict[int, None] = {}
        places: list[tuple[int, int]] = []
        for indices in examples.indices(READ):
            for index, example in zip(indices, examples.read(indices), strict=True):
                for number, values in enumerate(self._offered(example)):
                    key = hash_of(values)
                    if key not in hashes:
                        hashes[key] = None
                        places.append((index, number))
        self.hashes = np.fromiter(hashes, np.int64, len(hashes))
        self._places = np.array(places, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def take(self, rows: range) -> list[tuple[Any, ...]]:
        """Some inputs, a value a field."""
        places = self._places[rows.start : rows.stop].tolist()
        examples = self._examples.read([index for index, _ in places])
        return [self._offered(e)[number] for e, (_, number) in zip(examples, places, strict=True)]

    def _offered(self, example: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return [*product(*([*alternatives(example, f), example[f]] for f in self._fields))]
