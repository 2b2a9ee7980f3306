"""What is known of the pictures of a folder: a row for each."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from ldmkit.pictures import shown

NAMED = 20
"""Class folders that a line names, at most."""


class Row(NamedTuple):
    """One picture: its path from the folder, what is said of it, and what is wrong with that.

    base: the path from the folder at which the files that `values` names start. lacks: why it has none of the
    listing's fields, which matters where one of them is read.
    """

    name: str
    values: Mapping[str, Any]
    problem: str | None = None
    base: str = ""
    lacks: str | None = None


@dataclass(frozen=True)
class Listing:
    """All pictures in the order of their names; the fields that each has; class names by label."""

    rows: Sequence[Row]
    fields: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What is in the folder and plays no part, a line each."""


def note(names: Sequence[str], what: str) -> list[str]:
    """A line on files of one kind: how many there are, and the first of them; none where there are none."""
    return [f"{what}: {len(names)}, such as {shown(min(names))}"] if names else []


def note_of_empty(rows: Sequence[Row]) -> list[str]:
    """A line for each field with pictures whose text there is empty."""
    empty: dict[str, list[str]] = {}
    for row in rows:
        for field, value in row.values.items():
            if isinstance(value, str) and not value.strip():
                empty.setdefault(field, []).append(row.name)
    return [
        line
        for field, names in empty.items()
        for line in note(names, f"pictures with an empty {shown(field)}")
    ]


def note_of_classes(folders: Collection[str]) -> list[str]:
    """A line that names class folders in which no picture opens."""
    names = ", ".join(map(shown, sorted(folders)[:NAMED])) + ("..." if len(folders) > NAMED else "")
    return [f"class folders without a picture that opens: {len(folders)} ({names})"] if folders else []


@contextmanager
def uncollected() -> Iterator[None]:
    """A context without cyclic garbage collection, which would visit all rows that are there already."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
