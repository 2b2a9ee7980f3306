"""What counts as a whole number."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def is_whole(value: Any) -> bool:
    """Is the value an integer? numpy's are; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)
