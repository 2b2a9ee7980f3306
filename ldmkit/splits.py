"""How splits are drawn: by hashes of keys, so that they stay what they are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

VALIDATION = 0.05
"""Share of the examples that is held out."""


def fraction(text: str) -> float:
    """A number in [0, 1), evenly distributed over texts: the first 48 bits of the text's sha256."""
    return int.from_bytes(_head(text)) / 2**48


def held_out(keys: Iterable[str]) -> frozenset[str]:
    """The keys of the split "validation": those whose `fraction` is below 0.05.

    Whether a key is held out depends on that key alone, except in a small set: where no key is below, the
    lowest one is held out, and one key is always left to train on. Of a single key none is held out.
    """
    unique = set(keys)
    below = frozenset(key for key in unique if _head(key) < BOUND)
    if 0 < len(below) < len(unique):
        return below
    order = sorted(unique, key=lambda key: (_head(key), key))
    return frozenset(order[: min(max(len(below), 1), len(order) - 1)])


def _head(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:6]


BOUND = math.ceil(VALIDATION * 2**48).to_bytes(6)
"""The hashes below it are those of fractions below VALIDATION."""
