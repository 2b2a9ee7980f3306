"""What a command line says of the pictures that it wants, and of the trainings. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """Inputs and options as given; what is empty or None is the recipe's.

    fields: lists of raw inputs by field; None leaves a condition out. guidance: the scale of the recipe's
    guidance. overrides: all changes of the recipe's values.
    """

    prompts: Sequence[str] = ()
    fields: Mapping[str, Sequence[Any] | None] = field(default_factory=dict)
    count: int | None = None
    seed: int | None = None
    negative: str | None = None
    init: Sequence[str] = ()
    strength: float | None = None
    guidance: float | None = None
    overrides: Sequence[str] = ()

    def inputs_beside(self, *allowed: str) -> list[str]:
        """The names of the inputs that are given, but for `allowed`."""
        names = ("prompts", "fields", "count", "seed", "negative", "init", "strength")
        return [n for n in names if n not in allowed and getattr(self, n) not in ((), [], {}, None)]


@dataclass(frozen=True)
class Terms:
    """How trainings are run, whatever they train.

    runs: the folder that holds them. device: by name, by default the accelerator where there is one. wait:
    for another process that trains here. accept: go on with data, or with weights of the stage before, that
    have changed since. any_size: train what memory may not hold.
    """

    runs: Path
    device: str | None = None
    wait: bool = False
    accept: bool = False
    any_size: bool = False
