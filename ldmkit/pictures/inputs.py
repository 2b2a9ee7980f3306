"""What a picture's file says of one input: itself where JSON holds it, else a digest of its content."""

from __future__ import annotations

import hashlib
from typing import Any

from torch import Tensor


def plain(value: Any) -> Any:
    """The value as JSON holds it; None where it is no text, number or list of them."""
    if isinstance(value, list | tuple):
        inner = [plain(v) for v in value]
        return None if None in inner else inner
    return value if isinstance(value, str | int | float) else None


def content(value: Any) -> str:
    """sha256 of a tensor's numbers, or of any other value as Python writes it."""
    if isinstance(value, Tensor):
        return hashlib.sha256(value.contiguous().cpu().numpy().tobytes()).hexdigest()
    return hashlib.sha256(repr(value).encode()).hexdigest()
