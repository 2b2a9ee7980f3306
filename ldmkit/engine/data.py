"""What the conditioners of a recipe read of its data, and the optional methods of data sets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

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


def read_by(data: Dataset, named: Iterable[tuple[str, Conditioner]], more: Collection[str] = ()) -> Dataset:
    """The data set as those conditioners read it: examples that have their fields, cut as the pictures are.

    named: conditioners by the recipe's id. more: fields that are read besides.
    """
    named = list(named)
    fields = {f for _, c in named for f in c.spec.fields}
    return aligned(reading(data, {*fields, *more}), field_kinds(named))


def reading(data: Dataset, fields: Collection[str]) -> Dataset:
    """The data set for a reader of those fields; the data set itself where all examples have all fields."""
    read = getattr(data, "reading", None)
    dataset: Dataset = data if read is None else read(fields)
    return dataset


def aligned(data: Dataset, kinds: Mapping[str, FieldKind]) -> Dataset:
    """The data set with those fields cut as its pictures are; itself, where it does not cut pictures."""
    align = getattr(data, "aligned", None)
    dataset: Dataset = data if align is None else align(kinds)
    return dataset


def view(
    data: Dataset, index: int, fields: Collection[str] | None = None, key: int | None = None
) -> Mapping[str, Any]:
    """Some fields of an example, by default all, drawn by `key` where the data set draws at random."""
    show = getattr(data, "view", None)
    if show is not None:
        return dict(show(index, fields, key))
    example = data[index]
    return example if fields is None else {f: v for f, v in example.items() if f in fields}


def drawn_of(data: Dataset) -> frozenset[str]:
    """The fields, perhaps with "image", that are drawn at random by the key of `view`."""
    return frozenset(getattr(data, "drawn", ()))


def buckets_of(data: Dataset) -> Sequence[Sequence[int]]:
    """The indices of the examples of each shape; all of them, where there is one shape."""
    buckets: Sequence[Sequence[int]] = getattr(data, "buckets", ())
    return buckets if len(buckets) > 1 else [range(len(data))]


def shown_of(data: Dataset, index: int) -> int:
    """The index of the example that stands in for a broken one, as far as it is known to be broken."""
    shown = getattr(data, "shown", None)
    return index if shown is None else int(shown(index))


def contents_of(data: Dataset) -> Mapping[str, str] | None:
    """A digest of each example or file of the data, by its name; None where the data set has none."""
    contents: Mapping[str, str] | None = getattr(data, "contents", None)
    return contents


def picture_digest_of(data: Dataset) -> str:
    """A digest of the pictures alone where there is one, else of all."""
    return str(getattr(data, "picture_digest", data.digest))


def of_one_shape(indices: Iterable[int], buckets: Sequence[Sequence[int]]) -> list[list[int]]:
    """The indices in groups of one shape."""
    if len(buckets) == 1:
        return [list(indices)]
    bucket = {i: number for number, members in enumerate(buckets) for i in members}
    groups: dict[int, list[int]] = {}
    for i in indices:
        groups.setdefault(bucket[i], []).append(i)
    return [groups[number] for number in sorted(groups)]
