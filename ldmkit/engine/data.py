"""What the conditioners of a recipe read of its data, and the data set with that cut as its pictures are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ldmkit.errors import UserError
from ldmkit.interfaces import Conditioner, Dataset
from ldmkit.types import FieldKind


def field_kinds(named: Iterable[tuple[str, Conditioner]]) -> dict[str, FieldKind]:
    """What each field that a conditioner reads holds, where the conditioner says so.

    named: conditioners by the recipe's id. UserError where two read one field as different things.
    """
    kinds: dict[str, FieldKind] = {}
    for name, conditioner in named:
        for field, kind in conditioner.spec.kinds.items():
            if kinds.setdefault(field, kind) != kind:
                raise UserError(
                    f"condition '{name}' reads the field '{field}' as {kind}, another one as {kinds[field]}"
                )
    return kinds


def aligned(data: Dataset, kinds: Mapping[str, FieldKind]) -> Dataset:
    """The data set with those fields cut as its pictures are; itself, where it does not cut pictures."""
    align = getattr(data, "aligned", None)
    made: Dataset = data if align is None else align(kinds)
    return made
