"""The data set `union`: several as one."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset, example_name
from ldmkit.types import FieldKind


class Union:
    """Examples of several data sets one after another, with the fields that all of them have.

    A split joins those of all parts that have a split of that name. Raises ValueError for no parts, and for
    parts whose pictures differ in size. Parts that draw crops or tags at random draw them here as well.

    Args:
        parts: the data sets.
    """

    def __init__(self, *, parts: tuple[Dataset, ...]) -> None:
        if not parts:
            raise ValueError("parts names no data set")
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))
        shared = set.intersection(*(set(part.fields) for part in parts))
        self.fields = tuple(field for field in parts[0].fields if field in shared)
        if any(len(getattr(part, "buckets", ())) > 1 for part in parts):
            raise ValueError("pictures of one set have one size; a part with buckets stands alone")
        sizes = {tuple(part[0]["image"].shape[1:]) for part in parts if len(part)}
        if len(sizes) > 1:
            raise ValueError(f"pictures of one set have one size, not {sorted(sizes)}")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.view(index)

    def view(
        self, index: int, fields: Collection[str] | None = None, key: int | None = None
    ) -> Mapping[str, Any]:
        """The example, or some of its fields, drawn by `key` where its part draws."""
        part, first = self._part(index)
        names = [f for f in ("image", *self.fields) if fields is None or f in fields]
        show = getattr(part, "view", None)
        example = part[index - first] if show is None else show(index - first, names, key)
        return {field: example[field] for field in names}

    def shown(self, index: int) -> int:
        """The example that stands in for a broken one."""
        part, first = self._part(index)
        shown = getattr(part, "shown", None)
        return index if shown is None else first + int(shown(index - first))

    @property
    def drawn(self) -> Sequence[str]:
        """The fields that a part draws anew for each key."""
        return tuple({f for part in self._parts for f in getattr(part, "drawn", ())})

    def _part(self, index: int) -> tuple[Dataset, int]:
        """The part that holds an example, and where it begins."""
        which = bisect_right(self._ends, index)
        return self._parts[which], self._ends[which] - len(self._parts[which])

    @property
    def skipped(self) -> Sequence[Path]:
        """The broken files that the parts have left out."""
        return tuple(path for part in self._parts for path in part.skipped)

    @property
    def problems(self) -> Mapping[Path, str]:
        """Why the parts have left files out, where they say so."""
        return {path: why for part in self._parts for path, why in getattr(part, "problems", {}).items()}

    @property
    def notes(self) -> Sequence[str]:
        """What the parts say of their choice of pictures."""
        return [f"part {i}: {x}" for i, part in enumerate(self._parts) for x in getattr(part, "notes", ())]

    @property
    def class_names(self) -> Mapping[str, Sequence[str]]:
        """What all parts call the classes of a field, by id; where one has more of them, its names."""
        named = [getattr(part, "class_names", {}) for part in self._parts]
        each = {f: [names[f] for names in named if f in names] for f in self.fields}
        alike = {f: found for f, found in each.items() if found and _first_difference(found) is None}
        return {f: max(found, key=len) for f, found in alike.items()}

    def name(self, index: int) -> str:
        """The name that an example's part gives it."""
        part, first = self._part(index)
        return example_name(part, index - first) if hasattr(part, "name") else f"example {index}"

    @property
    def digest(self) -> str:
        """sha256 of the parts' digests."""
        return hashlib.sha256(" ".join(part.digest for part in self._parts).encode()).hexdigest()

    @property
    def contents(self) -> Mapping[str, str]:
        """The contents of the parts that have them, each name after its part's number."""
        known = [(i, getattr(part, "contents", None) or {}) for i, part in enumerate(self._parts)]
        return {f"part {i}: {name}": content for i, held in known for name, content in held.items()}

    def reading(self, fields: Collection[str]) -> Union:
        """The union of the parts for what reads those fields. UserError for a field whose numbers mean other
        classes in one part than in another."""
        for field in fields:
            self._check_classes(field)
        read = (getattr(part, "reading", None) for part in self._parts)
        pairs = zip(self._parts, read, strict=True)
        return Union(parts=tuple(part if of is None else of(fields) for part, of in pairs))

    def _check_classes(self, field: str) -> None:
        """UserError where a class of the field has another name in one part than in the first that names
        it."""
        named = [(i, getattr(part, "class_names", {}).get(field)) for i, part in enumerate(self._parts)]
        known = [(i, names) for i, names in named if names]
        for i, names in known[1:]:
            first, others = known[0]
            if (which := _first_difference([others, names])) is not None:
                raise UserError(
                    f"{field} {which} is '{others[which]}' in part {first}, but '{names[which]}' in "
                    f"part {i}: give all parts of the union the same classes in the same order"
                )

    def aligned(self, kinds: Mapping[str, FieldKind]) -> Union:
        """The union of the parts with those of their fields cut as their pictures are."""
        cut = (getattr(part, "aligned", None) for part in self._parts)
        pairs = zip(self._parts, cut, strict=True)
        return Union(parts=tuple(part if align is None else align(kinds) for part, align in pairs))

    def split(self, name: str) -> Union:
        """The examples of one split; ValueError where no part has it."""
        parts, reasons = [], []
        for part in self._parts:
            try:
                parts.append(part.split(name))
            except ValueError as error:
                reasons.append(str(error))
        if not parts:
            raise ValueError(f"{'; '.join(dict.fromkeys(reasons))}")
        return Union(parts=tuple(parts))


def _first_difference(names: Sequence[Sequence[str]]) -> int | None:
    """The first class that has several names; None where all agree, as far as they go."""
    return next((i for i, called in enumerate(zip(*names, strict=False)) if len({*called}) > 1), None)
