"""How splits are drawn: by hashes, so that they stay what they are."""

from __future__ import annotations

import hashlib


def fraction(text: str) -> float:
    """A number in [0, 1) that only `text` determines."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:6]) / 2**48
