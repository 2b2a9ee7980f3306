"""The data set `image-folder`: any folder of pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from PIL import Image, ImageColor
from pydantic import Field
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.pictures import Cut, PictureError, decode, flatten, middle, read, to_tensor
from ldmkit.splits import held_out
from ldmkit.types import FieldKind
from ldmkit_data.files import FieldFiles
from ldmkit_data.index import Index
from ldmkit_data.listing import Row, list_folder
from ldmkit_data.places import Places

DECODED = 4096
"""Pictures up to which a folder is read whole when it is first seen, so that damaged files are found then."""
SHOWN = 5
"""How many broken files an error names."""


class ImageFolder:
    """A folder of PNG, JPEG and WEBP pictures with what is said of them, as squares of one size.

    Examples: image (uint8 "3 H W": the shorter side resized to `size`, then the middle cut out; grey as RGB,
    transparency on `background`, colour profiles converted to sRGB, EXIF orientation applied) and, by what
    the folder holds, the fields of metadata.jsonl (one object a line: "file_name" and any fields, the same in
    each line); or caption, from a .txt or .caption file beside each picture; or label and class_name, from
    sub-folders (`classes` lists the names); or none. Hidden files are left alone; where there is a
    metadata.jsonl, so is what it does not name. Further files that metadata.jsonl names (maps, masks,
    low-resolution pictures) start at its folder, else at the working directory, and lie in `path`.

    The folder's files are looked at when the data set is made, from the second time on only those that are
    new or changed; pictures are read when they are asked for. Broken ones are left out and listed in
    `skipped`, with reasons in `problems`; of a folder with more than 4096 pictures, those whose damage shows
    only when they are read stay: the next whole example stands in. Splits by a hash of the path from the
    folder: "train", and "validation" with about 5 % (at least one picture). Raises UserError for a folder
    that is missing, holds fewer than two pictures that open, has more broken ones than allowed, or unusable
    metadata.

    Args:
        path: the folder.
        size: height and width of the examples.
        background: what transparent pictures lie on, a colour name or "#rrggbb".
        max_broken: the share of broken files up to which they are left out instead of being an error.
    """

    def __init__(
        self,
        *,
        path: Path,
        size: Annotated[int, Field(ge=8, le=4096)],
        background: str = "white",
        max_broken: Annotated[float, Field(ge=0, le=1)] = 0.05,
    ) -> None:
        self._root, self._size, self._background = Path(path), size, background
        self._max_broken = max_broken
        try:
            ImageColor.getrgb(background)
        except ValueError:
            raise UserError(f"image-folder: unknown colour '{background}' as background") from None
        listing = list_folder(self._root)
        self.fields, self.classes = listing.fields, listing.classes
        self._total = len(listing.rows)
        self._places, self._index = Places(self._root), Index(self._root)
        self._kinds: Mapping[str, FieldKind] = {}
        self._files = FieldFiles(self._root, self._places, {})
        self.problems: dict[Path, str] = {}
        self._contents: dict[str, str] = {}
        self._rows = self._whole(listing.rows)
        self._late: dict[str, str] = {}
        self._validation = held_out(row.name for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        for row in self._from(index):
            try:
                return self._example(row)
            except (PictureError, ValueError) as error:
                self._late[row.name] = str(error)
                self.problems[self._root / row.name] = str(error)
                self._check()
        raise UserError(f"image-folder: none of the {len(self)} pictures of a split in {self._root} opens")

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
        part = copy(self)
        part.__dict__.pop("digest", None)
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
        part = copy(self)
        part.__dict__.pop("digest", None)
        wanted = name == "validation"
        part._rows = [row for row in self._rows if (row.name in self._validation) == wanted]
        return part

    @cached_property
    def digest(self) -> str:
        """Of the files, the fields and the settings; it follows content, not the time of the last change."""
        settings = [self._size, self._background, sorted(self._kinds.items())]
        digest = hashlib.sha256(json.dumps(settings).encode())
        encode = json.JSONEncoder().encode
        for row in self._rows:
            content = [row.name, self._contents[row.name], row.values, self._files.contents(row)]
            digest.update(encode(content).encode())
        return digest.hexdigest()

    def _from(self, index: int) -> Iterator[Row]:
        """The rows from `index` on, around, that are not known as broken."""
        count = len(self._rows)
        rows = (self._rows[(index + i) % count] for i in range(count))
        return (row for row in rows if row.name not in self._late)

    def _example(self, row: Row) -> Mapping[str, Any]:
        """Raises PictureError or ValueError where the picture or a file of a field is unusable."""
        cut, pixels = decode(self._root / row.name, self._cut)
        return {"image": pixels, **{f: self._value(row, f, v, cut) for f, v in row.values.items()}}

    def _cut(self, picture: Image.Image) -> tuple[Cut, Tensor]:
        cut = middle(picture.size, (self._size, self._size))
        return cut, to_tensor(cut.picture(flatten(picture, self._background)))

    def _value(self, row: Row, field: str, value: Any, cut: Cut) -> Any:
        kind = self._kinds.get(field)
        if kind == "boxes":
            return cut.boxes(value)
        file = self._files.shown(row, field, value)
        if kind not in ("picture", "map", "mask") or not isinstance(value, str):
            return file
        try:
            if kind == "picture":
                return decode(file, lambda p: to_tensor(cut.other(flatten(p, self._background))))
            return cut.nearest(read(file, kind))
        except ValueError as error:
            raise ValueError(f"{self._root / row.name}: its {field} {value}: {error}") from error

    def _whole(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose pictures can be used; the others go to `problems`."""
        sound = [row.name for row in rows if row.problem is None]
        entries = self._index.look(sound, decoded=len(rows) <= DECODED)
        kept = []
        for row in rows:
            problem = row.problem or entries[row.name].problem
            if problem is None:
                kept.append(row)
                self._contents[row.name] = entries[row.name].content
            else:
                self.problems[self._root / row.name] = problem
        self._check()
        if len(kept) < 2:
            raise UserError(f"image-folder: {self._root} holds {len(kept)} usable pictures; two are needed")
        return kept

    def _check(self) -> None:
        """UserError where more files are broken than allowed."""
        broken = len(self.problems)
        if broken > self._max_broken * self._total:
            first = "; ".join(list(self.problems.values())[:SHOWN])
            raise UserError(
                f"image-folder: {broken} of {self._total} pictures in {self._root} cannot be used, more than "
                f"max_broken {self._max_broken:g} allows: {first}{'; ...' if broken > SHOWN else ''}"
            )
