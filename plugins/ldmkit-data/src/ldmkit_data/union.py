"""The data set `union`: several as one."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ldmkit.interfaces import Dataset
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
    def digest(self) -> str:
        """sha256 of the parts' digests."""
        return hashlib.sha256(" ".join(part.digest for part in self._parts).encode()).hexdigest()

    @property
    def contents(self) -> Mapping[str, str]:
        """The contents of the parts that have them, each name after its part's number."""
        known = [(i, getattr(part, "contents", None) or {}) for i, part in enumerate(self._parts)]
        return {f"part {i}: {name}": content for i, held in known for name, content in held.items()}

    def reading(self, fields: Collection[str]) -> Union:
        """The union of the parts for what reads those fields."""
        read = (getattr(part, "reading", None) for part in self._parts)
        pairs = zip(self._parts, read, strict=True)
        return Union(parts=tuple(part if of is None else of(fields) for part, of in pairs))

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
