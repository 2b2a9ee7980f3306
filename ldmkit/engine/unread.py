"""What of the inputs conditioners do not read, such as the end of a long caption; no picture shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from warnings import warn

from ldmkit.engine.parts import Parts
from ldmkit.engine.rehearsal import named
from ldmkit.engine.requests import Inputs
from ldmkit.engine.trial import WRONG
from ldmkit.errors import Note

SHOWN = 3


def note_unread(system: Parts, inputs: Inputs) -> None:
    """A `Note` for each of the first inputs that are not read whole, and one that counts the others."""
    lines = unread(system, inputs.raw)
    if inputs.negative is not None:
        lines += unread(system, {system.prompt_field: [inputs.negative]})
    for line in first_of(list(dict.fromkeys(lines)), "inputs"):
        warn(Note(line), stacklevel=3)


def unread(system: Parts, raw: Mapping[str, Any]) -> list[str]:
    """A line for each input of which a conditioner does not read a part; conditions may be left out."""
    lines: list[str] = []
    for name, conditioner in system.named_conditioners():
        told, fields = getattr(conditioner, "unread", None), conditioner.spec.fields
        if told is not None and set(fields) <= set(raw):
            with named("conditioner", system.recipe.conditioners[name], WRONG):
                lines += told({field: raw[field] for field in fields})
    return lines


def first_of(lines: Sequence[str], what: str) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], *([f"{more} more {what} are not read whole"] if more > 0 else [])]
