"""How splits are drawn: by hashes of keys, so that they stay what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

VALIDATION = 0.05
"""Share of the examples that is held out."""


def fraction(text: str) -> float:
    """A number in [0, 1) that only `text` determines."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:6]) / 2**48


def held_out(keys: Iterable[str]) -> frozenset[str]:
    """The keys of the split "validation": those that hash into the first 5 %; one at least, not all."""
    order = sorted((fraction(key), key) for key in set(keys))
    count = sum(place < VALIDATION for place, _ in order)
    return frozenset(key for _, key in order[: min(max(count, 1), len(order) - 1)])
