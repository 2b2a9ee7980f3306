"""How a learning rate falls after its warm-up: each function's name is what a recipe calls it.

Each takes the share of the steps that is done, 0 to 1, and gives the factor of the learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field


def constant(done: float) -> float:
    """The learning rate stays."""
    return 1.0


def cosine(done: float) -> float:
    """Half a period of a cosine, down to 0 at the last step."""
    return (1 + math.cos(math.pi * done)) / 2


def linear(done: float) -> float:
    """A straight line down to 0 at the last step."""
    return 1 - done


DECAYS: Mapping[str, Callable[[float], float]] = {f.__name__: f for f in (constant, cosine, linear)}


def _known(name: str) -> str:
    if name not in DECAYS:
        *first, last = map(repr, DECAYS)
        raise ValueError(f"should be {', '.join(first)} or {last}")
    return name


NAMES: dict[str, Any] = {"enum": list(DECAYS)}
Decay = Annotated[str, AfterValidator(_known), Field(json_schema_extra=NAMES)]
"""The name of a decay."""
