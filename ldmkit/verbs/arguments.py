"""What a command line says of the pictures that it wants, and of the trainings. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldmkit.errors import UserError, shortened


@dataclass(frozen=True)
class PictureArguments:
    """Inputs and options as given; what is empty or None is the recipe's.

    fields: lists of inputs by field, see `inputs`; None leaves a condition out. guidance: the scale of the
    recipe's guidance. size: the (height, width) of `--size`, which no condition's map may contradict.
    overrides: all changes of the recipe's values, that of the size among them.
    """

    prompts: Sequence[str] = ()
    fields: Mapping[str, Sequence[Any] | None] = field(default_factory=dict)
    count: int | None = None
    seed: int | None = None
    negative: str | None = None
    init: Sequence[str] = ()
    strength: float | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    overrides: Sequence[str] = ()

    def inputs(self, texts: Collection[str]) -> dict[str, list[Any] | None]:
        """The raw inputs by field: a number or what JSON says, else the text; in `texts` always the text.

        Raises UserError for what begins like JSON and is none.
        """
        return {
            field: None
            if values is None
            else [_text(value) if field in texts else _parsed(field, value) for value in values]
            for field, values in self.fields.items()
        }

    def inputs_beside(self, *allowed: str) -> list[str]:
        """The names of the inputs that are given, but for `allowed`."""
        names = ("prompts", "fields", "count", "seed", "negative", "init", "strength")
        return [n for n in names if n not in allowed and getattr(self, n) not in ((), [], {}, None)]


def _text(value: Any) -> Any:
    """The text as it stands, or in the quotes of JSON."""
    try:
        quoted = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return value
    return quoted if isinstance(quoted, str) else value


def _parsed(field: str, value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        if value[0] in "[{":
            raise UserError(f"--input {field}={shortened(value, 200)}: is no JSON") from None
        return value


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
