"""Examples as batches: decoded once where they fit in memory, read ahead in threads where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ldmkit.engine.data import buckets_of, drawn_of, of_one_shape, shown_of, view
from ldmkit.engine.promises import shape_of
from ldmkit.errors import UserError
from ldmkit.interfaces import Dataset
from ldmkit.pictures import normalize, read
from ldmkit.types import FieldKind, Image

MEMORY = 2 * 2**30
"""Bytes of decoded pictures that are kept."""
READERS = 8
HELD = 400
"""Bytes of an example's mapping and keys."""
Example = Mapping[str, Any]


Pick = tuple[int, int | None]
"""An example by its index, and the key that draws it; None where nothing is drawn."""


class Examples:
    """The examples of one split by index, kept in memory after the first reading up to `memory` bytes.

    drawn: whether examples are drawn at random; such examples are not kept.
    """

    def __init__(self, dataset: Dataset, fields: Sequence[str] | None = None, memory: int = MEMORY) -> None:
        """fields: the fields that are read of each example, with their plurals; by default all."""
        if len(dataset) == 0:
            raise UserError("data: a split holds no examples")
        self.digest, self.buckets = dataset.digest, buckets_of(dataset)
        self.dataset = dataset
        self._wanted = None if fields is None else {*fields, *(plural(f) for f in fields)}
        drawn = drawn_of(dataset)
        self.drawn = bool(drawn if self._wanted is None else drawn & self._wanted)
        self._kept: dict[Pick, Example] = {}
        self._coming: dict[Pick, Future[Example]] = {}
        self._readers = ThreadPoolExecutor(READERS)
        self._room = memory // _size(self._example((0, None)))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Example:
        return self.read([index])[0]

    def read(
        self,
        indices: Sequence[int],
        keys: Sequence[int] | None = None,
        then: tuple[Sequence[int], Sequence[int] | None] = ((), None),
    ) -> list[Example]:
        """The examples at those indices; those not in memory are read in threads, and so are those of `then`.

        keys: what examples are drawn by, where they are drawn at random. then: indices and keys of the next
        call.
        """
        picks, following = self._picks(indices, keys), self._picks(*then)
        for pick in [*picks, *following]:
            if pick not in self._kept and pick not in self._coming:
                self._coming[pick] = self._readers.submit(self._example, pick)
        examples = [self._arrived(pick) for pick in picks]
        for pick in {*picks} - {*following}:
            self._coming.pop(pick, None)
        return examples

    def shown(self, index: int) -> int:
        """The example that stands in for a broken one, as far as is known."""
        return shown_of(self.dataset, index)

    def _picks(self, indices: Sequence[int], keys: Sequence[int] | None) -> list[Pick]:
        if keys is None or not self.drawn:
            return [(i, None) for i in indices]
        return list(zip(indices, keys, strict=True))

    def _arrived(self, pick: Pick) -> Example:
        if pick in self._kept:
            return self._kept[pick]
        example = self._coming[pick].result()
        if pick[1] is None and len(self._kept) < self._room:
            self._kept[pick] = example
        return example

    def batches(self, size: int, limit: int | None = None) -> Iterator[list[Example]]:
        """All examples in order, or the first `limit`, in batches of one shape."""
        for indices in self.indices(size, limit):
            yield self.read(indices)

    def indices(self, size: int, limit: int | None = None) -> Iterator[list[int]]:
        """The indices of all examples, or of the first `limit`, in batches of one shape."""
        for group in of_one_shape(range(min(len(self), limit or len(self))), self.buckets):
            for start in range(0, len(group), size):
                yield group[start : start + size]

    def _example(self, pick: Pick) -> Example:
        return view(self.dataset, pick[0], self._wanted, pick[1])


def plural(field: str) -> str:
    """The field that holds alternatives to choose among: "captions" for "caption"."""
    return f"{field}s"


def _size(example: Example) -> int:
    """About how many bytes an example takes: its tensors, texts and containers."""
    tensors = sum(v.nbytes for v in example.values() if isinstance(v, Tensor))
    return tensors + sum(len(v) for v in example.values() if isinstance(v, str)) + HELD


def images_of(examples: Sequence[Example], flip: Bool[Tensor, " b"] | None = None) -> Image:
    """The pictures in [-1, 1], mirrored where `flip` says so."""
    flips = [flip is not None and bool(flip[i]) for i in range(len(examples))]
    pixels = [
        pixels_of(e).flip(-1) if turn else pixels_of(e) for e, turn in zip(examples, flips, strict=True)
    ]
    if len(shapes := {"x".join(map(str, x.shape[1:])) for x in pixels}) > 1:
        raise UserError(f"data: pictures of one batch have several sizes: {', '.join(sorted(shapes))}")
    return normalize(torch.stack(pixels))


def pixels_of(example: Example) -> Tensor:
    """An example's picture; UserError where it is none."""
    image = example.get("image") if isinstance(example, Mapping) else None
    if not isinstance(image, Tensor) or image.ndim != 3 or len(image) != 3 or image.dtype != torch.uint8:
        what = f"{shape_of(image)} of {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        raise UserError(f"its image is {what}; a tensor of bytes (torch.uint8) in 3 x H x W is expected")
    return image


def mirrored(value: Any, kind: FieldKind | None) -> Any:
    """A field's value as it is when its picture is mirrored from left to right, read where it names a file.

    kind: what the field holds; where nothing says so, a tensor of two dimensions or more is mirrored. Raises
    ValueError for boxes that are token ids already, and for sizes that do not say where the other side is.
    """
    if kind in ("picture", "map", "mask"):
        return read(value, kind).flip(-1)
    if kind is None:
        return value.flip(-1) if isinstance(value, Tensor) and value.ndim > 1 else value
    if kind == "sizes":
        return _mirrored_sizes(value)
    return _mirrored_boxes(value) if kind == "boxes" else value


def _mirrored_sizes(sizes: Any) -> Any:
    """The left of the cut counted from the other side, in pixels of the picture that was resized so that the
    cut just fits into it (Podell et al. 2023, "SDXL", algorithm 1)."""
    try:
        height, width, top, left, h, w = (int(x) for x in sizes)
        other = round(width * max(h / height, w / width)) - w - left
    except (TypeError, ValueError, ArithmeticError):  # what the conditioner refuses
        return sizes
    if other < -1:  # less than rounding explains
        raise ValueError(
            f"left {left} of sizes {[height, width, top, left, h, w]} is beyond the picture resized to the "
            "cut, so that it cannot be mirrored: set flip: false"
        )
    turned = (height, width, top, max(0, other), h, w)
    return sizes.new_tensor(turned) if isinstance(sizes, Tensor) else turned


def _mirrored_boxes(objects: Any) -> Any:
    if isinstance(objects, Tensor) and objects.ndim < 2:
        raise ValueError("token ids of boxes cannot be mirrored: set flip: false")
    rows = objects.tolist() if isinstance(objects, Tensor) else objects
    return tuple((c, max(0.0, 1 - x - width), y, width, height) for c, x, y, width, height in rows)


def alternatives(example: Example, field: str) -> Sequence[Any]:
    """What training may choose among for a field: its plural's values, or its own alone."""
    return example.get(plural(field)) or (example[field],)


def raw_of(
    examples: Sequence[Example],
    fields: Sequence[str],
    choice: Int[Tensor, " b"] | None = None,
    flip: Bool[Tensor, " b"] | None = None,
    kinds: Mapping[str, FieldKind] | None = None,
) -> dict[str, Any]:
    """Raw condition inputs by field, as conditioners take them; pictures come in [-1, 1].

    choice: large random integers that pick one of several captions; without it the example's own is taken.
    flip: the pictures that are mirrored. kinds: what the fields hold, where a conditioner says so.
    """
    known = kinds or {}

    def value(i: int, field: str) -> Any:
        offered = (examples[i][field],) if choice is None else alternatives(examples[i], field)
        chosen = offered[0] if choice is None else offered[int(choice[i]) % len(offered)]
        if flip is None:
            return chosen
        kind = known.get(field)
        return mirrored(chosen, kind) if flip[i] else read(chosen, kind or "other")

    columns = {field: [value(i, field) for i in range(len(examples))] for field in fields}
    return {field: _column(values) for field, values in columns.items()}


def _column(values: list[Any]) -> Any:
    if len({v.shape if isinstance(v, Tensor) else None for v in values} | {None}) != 2:
        return values
    stacked = torch.stack(values)
    picture = stacked.dtype == torch.uint8 and stacked.ndim == 4 and stacked.shape[1] == 3
    return normalize(stacked) if picture else stacked
