"""The data set `image-folder`: any folder of pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ldmkit.errors import UserError
from ldmkit.pictures import Crop, Cut, PictureError, Scale, Views, decode, flatten, read, to_tensor
from ldmkit.splits import held_out
from ldmkit.types import FieldKind
from ldmkit_data.digests import digest_of
from ldmkit_data.files import FieldFiles
from ldmkit_data.index import Entry, Index
from ldmkit_data.listing import list_folder
from ldmkit_data.places import Places
from ldmkit_data.rows import Row, uncollected

DECODED = 4096
"""Pictures up to which a folder is read whole when it is first seen, so that damaged files are found then."""
SHOWN = 5
"""How many broken files an error names."""


class ImageFolder:
    """A folder of pictures with captions, labels and other fields, cut to one size or to a few shapes.

    Examples: image (uint8 "3 H W"; grey as RGB, transparency on `background`, colour profiles converted
    to sRGB, EXIF orientation applied) and, by what the folder holds, the fields of metadata.jsonl (one
    object a line: "file_name" and any fields, the same in each line); or caption, from a .txt or .caption
    file beside each picture; or label and class_name, from sub-folders (`classes` lists the names); or
    none. Where some pictures have no caption, or lie in no sub-folder, they count as broken for a recipe
    that reads this field; one that does not has all pictures, without it (`reading`). Hidden files are
    left alone; where there is a metadata.jsonl, so is what it does not name, and `notes` says so. Further
    files that metadata.jsonl names (maps, masks, low-resolution pictures) start at its folder, else at
    the working directory, and lie in `path`.

    The folder's files are looked at when the data set is made, from the second time on only those that are
    new or changed; pictures are read when they are asked for. Broken ones are left out and listed in
    `skipped`, with reasons in `problems`; of a folder with more than 4096 pictures, those whose damage shows
    only when they are read stay: the next whole example (of the same shape) stands in. Splits by a hash of
    the path from the folder: "train", and "validation" with about 5 % (at least one picture). Raises
    UserError for a folder that is missing, holds fewer than two pictures that open, has more broken ones than
    allowed, or unusable metadata.

    Args:
        path: the folder.
        size: height and width of the examples; with buckets, of the square that has their area.
        crop: center: the shorter side is resized to `size`, then the middle cut out. random: at each step of
            a training a square is drawn and resized. pad: all of the picture, on `background`. buckets: each
            picture goes to the nearest of several shapes, and each batch has one shape.
        crop_scale: the range from which a random square's side is drawn, as a share of the shorter side.
        bucket_step: sides of buckets are multiples of it; their ratio is two at most.
        smallest: pictures whose shorter side has fewer pixels are left out.
        shuffle_tags: captions are tags between commas, whose order is drawn anew at each step.
        drop_tags: the probability with which a training leaves out each tag, but never all.
        background: what transparent pictures lie on, a colour name or "#rrggbb".
        max_broken: the share of broken files up to which they are left out instead of being an error.
    """

    def __init__(
        self,
        *,
        path: Path,
        size: Annotated[int, Field(ge=8, le=4096)],
        crop: Crop = "center",
        crop_scale: Scale = (0.5, 1.0),
        bucket_step: Annotated[int, Field(ge=1)] = 64,
        smallest: Annotated[int, Field(ge=0)] = 0,
        shuffle_tags: bool = False,
        drop_tags: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        background: str = "white",
        max_broken: Annotated[float, Field(ge=0, le=1)] = 0.05,
    ) -> None:
        self._root, self._max_broken = Path(path), max_broken
        self._views = Views(
            size, background, crop, crop_scale, bucket_step, smallest, shuffle_tags, drop_tags
        )
        with uncollected():
            self._open()

    def _open(self) -> None:
        """Looks at the folder's files."""
        listing = list_folder(self._root)
        self._listed, self.classes = listing.fields, listing.classes
        self._left_alone = listing.notes
        self._total = len(listing.rows)
        self._places, self._index = Places(self._root), Index(self._root)
        self._kinds: Mapping[str, FieldKind] = {}
        self._files = FieldFiles(self._root, self._places, {})
        self.problems: dict[Path, str] = {}
        self._entries: Mapping[str, Entry] = {}
        self._all = self._large(self._whole(listing.rows))
        self._broken = dict(self.problems)
        self._late: dict[str, str] = {}
        lacking = sum(1 for row in self._all if row.lacks)
        self._chosen(self._fits(len(self.problems) + lacking) and len(self._all) - lacking > 1)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.view(index)

    def view(
        self, index: int, fields: Collection[str] | None = None, key: int | None = None
    ) -> Mapping[str, Any]:
        """The example, or those of its fields alone; drawn by `key`, where tags or crops are drawn at random
        (the crop only where "image" is among the fields)."""
        names = {"image", *self.fields} if fields is None else fields
        for i in self._from(index):
            row = self._rows[i]
            try:
                return self._example(row, names, key)
            except (PictureError, ValueError) as error:
                self._late[row.name] = str(error)
                self.problems[self._root / row.name] = str(error)
                self._check()
        raise UserError(f"none of the {len(self)} pictures of a split in {self._root} opens")

    def shown(self, index: int) -> int:
        """The example that stands in for one that is known as broken by now; else the index itself."""
        return next(self._from(index), index)

    @property
    def drawn(self) -> Sequence[str]:
        """The fields that differ from key to key of `view`."""
        of_texts = [f for f in self.fields if self._is_text(f)] if "text" in self._views.drawn else []
        return (*(("image",) if "image" in self._views.drawn else ()), *of_texts)

    @cached_property
    def buckets(self) -> Sequence[Sequence[int]]:
        """The examples of each shape, where there are several."""
        buckets: dict[tuple[int, int], list[int]] = {}
        for i, row in enumerate(self._rows):
            buckets.setdefault(self._shape(row), []).append(i)
        return [buckets[shape] for shape in sorted(buckets)]

    @property
    def notes(self) -> Sequence[str]:
        """What a person may want to know of the choice of pictures."""
        shapes = (self._shape(row) for row in self._rows)
        return [*self._left_alone, *self._unread(), *self._views.notes(self._small, shapes)]

    def reading(self, fields: Collection[str]) -> ImageFolder:
        """The whole data set for what reads those fields: where some pictures lack one of them, without
        these, which count as broken; else with all pictures, and without the fields that some lack."""
        if not any(row.lacks for row in self._all):
            return self
        read = bool(set(fields) & set(self._listed))
        part = self._copy()._chosen(read)
        if read:
            part._check()
            part._check_enough(part._rows)
        return part

    def _chosen(self, with_fields: bool) -> ImageFolder:
        """Takes the pictures that have all of the listed fields, or all pictures and no field."""
        lacking = {row.name: row.lacks for row in self._all if row.lacks}
        self.fields = self._listed if with_fields or not lacking else ()
        self._rows = [row for row in self._all if not (with_fields and row.lacks)]
        left_out = {self._root / name: reason for name, reason in lacking.items()} if with_fields else {}
        self.problems = {**self._broken, **left_out}
        self._validation = held_out(row.name for row in self._rows)
        return self

    def _unread(self) -> list[str]:
        """A line where fields are not there, since some pictures lack them and nothing reads them."""
        lacking = [row.lacks for row in self._rows if row.lacks]
        names = ", ".join(self._listed)
        return [f"no {names}, which {len(lacking)} pictures lack: {lacking[0]}"] if lacking else []

    @property
    def skipped(self) -> Sequence[Path]:
        """The broken files that are known by now."""
        return tuple(self.problems)

    def name(self, index: int) -> str:
        """The path of an example's picture, for messages."""
        return str(self._root / self._rows[index].name)

    def aligned(self, kinds: Mapping[str, FieldKind]) -> ImageFolder:
        """The data set with those of its fields that hold files of pictures, masks or class maps as tensors
        ("3 h w", "H W", "H W") cut as the picture is, and boxes within what is cut out.

        Examples whose files are missing or broken are left out like those with broken pictures.
        """
        part = self._copy()
        part._kinds = {f: kind for f, kind in kinds.items() if f in self.fields}
        part.problems, part._late = dict(self.problems), {}
        part._files = FieldFiles(self._root, self._places, part._kinds)
        part._rows = part._files.whole(self._rows, self._index, len(self._rows) <= DECODED, part.problems)
        part._check()
        return part

    def split(self, name: str) -> ImageFolder:
        """The pictures of one split; ValueError names the splits there are."""
        if name not in ("train", "validation"):
            raise ValueError(f"image-folder has no split '{name}'; there are train, validation")
        part = self._copy()
        validating = name == "validation"
        part._rows = [row for row in self._rows if (row.name in self._validation) == validating]
        return part

    @cached_property
    def digest(self) -> str:
        """Of the files, the fields and the settings; it follows content, not the time of the last change."""
        views = self._views
        settings: list[Any] = [views.size, views.background, sorted(self._kinds.items())]
        rows = (self._content(row) for row in self._rows)
        with uncollected():
            return digest_of([*settings, *([views.settings] if views.settings else [])], rows)

    @cached_property
    def picture_digest(self) -> str:
        """Of the pictures alone, as they are shown where nothing is drawn."""
        settings = {k: v for k, v in self._views.settings.items() if not k.endswith("_tags")}
        header = [self._views.size, self._views.background, settings]
        return digest_of(header, (self._entries[row.name].content for row in self._rows))

    @property
    def contents(self) -> Mapping[str, str]:
        """A digest of each picture with its fields, by its file's name."""
        return {row.name: digest_of([], iter([self._content(row)]))[:12] for row in self._rows}

    def _content(self, row: Row) -> list[Any]:
        return [row.name, self._entries[row.name].content, row.values, self._files.contents(row)]

    def _copy(self) -> ImageFolder:
        part = copy(self)
        for name in ("digest", "picture_digest", "buckets"):
            part.__dict__.pop(name, None)
        return part

    def _from(self, index: int) -> Iterator[int]:
        """The places from `index` on, around, of its shape, that are not known as broken."""
        count, rows = len(self._rows), self._rows
        if not -count <= index < count:
            raise IndexError(index)
        places = ((index + i) % count for i in range(count))
        whole = (i for i in places if rows[i].name not in self._late)
        if self._views.crop != "buckets":
            return whole
        shape = self._shape(rows[index])
        return (i for i in whole if self._shape(rows[i]) == shape)

    def _shape(self, row: Row) -> tuple[int, int]:
        entry = self._entries[row.name]
        return self._views.shape((entry.width, entry.height))

    def _is_text(self, field: str) -> bool:
        return "text" in (self._kinds.get(field), self._kinds.get(field.removesuffix("s")))

    def _example(self, row: Row, fields: Collection[str], key: int | None) -> Mapping[str, Any]:
        """Raises PictureError or ValueError where the picture or a file of a field is unusable."""
        entry, image = self._entries[row.name], {}
        if "image" in fields:
            cut, pixels = decode(self._root / row.name, lambda p: self._views.picture(p, key))
            image = {"image": pixels}
        else:
            cut = self._views.cut((entry.width, entry.height))
        values = row.values.items()
        return {**image, **{f: self._value(row, f, v, cut, key) for f, v in values if f in fields}}

    def _value(self, row: Row, field: str, value: Any, cut: Cut, key: int | None) -> Any:
        kind = self._kinds.get(field)
        if kind == "boxes":
            return cut.boxes(value)
        if self._is_text(field):
            return self._views.text(value, key)
        file = self._files.shown(row, field, value)
        if kind not in ("picture", "map", "mask") or not isinstance(value, str):
            return file
        try:
            if kind == "picture":
                background = self._views.background
                return decode(file, lambda p: to_tensor(cut.other(flatten(p, background))))
            return cut.nearest(read(file, kind))
        except ValueError as error:
            raise ValueError(f"{self._root / row.name}: its {field} {value}: {error}") from error

    def _whole(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose pictures can be used; the others go to `problems`."""
        sound = [row.name for row in rows if row.problem is None]
        entries = self._entries = self._index.look(sound, decoded=len(rows) <= DECODED)
        kept = []
        for row in rows:
            problem = row.problem or entries[row.name].problem
            if problem is None:
                kept.append(row)
            else:
                self.problems[self._root / row.name] = problem
        self._check()
        self._check_enough(kept)
        return kept

    def _large(self, rows: list[Row]) -> list[Row]:
        """The rows whose pictures are not too small."""
        sizes = ((self._entries[row.name].width, self._entries[row.name].height) for row in rows)
        kept = [row for row, size in zip(rows, sizes, strict=True) if not self._views.too_small(size)]
        self._small = len(rows) - len(kept)
        if len(kept) < 2:
            raise UserError(
                f"{len(kept)} of {len(rows)} pictures in {self._root} have "
                f"{self._views.smallest} pixels a side; two are needed: lower smallest"
            )
        return kept

    def _fits(self, broken: int) -> bool:
        """Are so many broken files allowed?"""
        return broken <= self._max_broken * self._total

    def _check_enough(self, rows: Sequence[Row]) -> None:
        if len(rows) < 2:
            raise UserError(f"{self._root} holds {len(rows)} usable pictures; two are needed")

    def _check(self) -> None:
        """UserError where more files are broken than allowed."""
        broken = len(self.problems)
        if not self._fits(broken):
            first = "; ".join(list(self.problems.values())[:SHOWN])
            raise UserError(
                f"{broken} of {self._total} pictures in {self._root} cannot be used, more than "
                f"max_broken {self._max_broken:g} allows: {first}{'; ...' if broken > SHOWN else ''}"
            )
