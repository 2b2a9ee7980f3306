"""The digest of a data set with very many rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

AT_ONCE = 4096
"""Rows that are digested at once."""
BETWEEN = "between two rows of a digest"


def digest_of(header: Any, rows: Iterator[Any]) -> str:
    """sha256 of the JSON of a header and of each row, one after another."""
    digest, encode = hashlib.sha256(json.dumps(header).encode()), json.JSONEncoder().encode
    separator = f", {encode(BETWEEN)}, "
    for first in rows:  # many rows in one call: each call of the encoder costs more than a row
        part = [first, *(row for _, row in zip(range(AT_ONCE), rows, strict=False))]
        text = encode([*chain.from_iterable((row, BETWEEN) for row in part)][:-1])[1:-1]
        digest.update(text.replace(separator, "").encode())
    return digest.hexdigest()
