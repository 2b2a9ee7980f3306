"""The data set `image-folder`: any folder of pictures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from jaxtyping import UInt8
from PIL import Image, ImageColor, ImageOps
from pydantic import Field
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.pictures import PictureError, open_picture, to_tensor
from ldmkit_data.hashing import fraction
from ldmkit_data.listing import Listing, Row, list_folder

MEMORY = 2**30
"""Bytes of decoded pictures that are kept."""
VALIDATION = 0.05
SHOWN = 5
"""How many broken files an error names."""


@dataclass
class Entry:
    """A picture that opens; `pixels` where memory had room for them."""

    row: Row
    content: str
    pixels: UInt8[Tensor, "3 H W"] | None


class ImageFolder:
    """A folder of PNG, JPEG and WEBP pictures with what is said of them, as squares of one size.

    Examples: image (uint8 "3 H W": the shorter side resized to `size`, then the middle cut out; grey as RGB,
    transparency on `background`, EXIF orientation applied) and, by what the folder holds, the fields of
    metadata.jsonl (one object a line: "file_name" and any fields, the same in each line); or caption, from a
    .txt file beside each picture; or label and class_name, from sub-folders (`classes` lists the names); or
    none. Hidden files are left alone; where there is a metadata.jsonl, so is what it does not name.

    Every picture is opened once when the data set is made. Broken ones are left out and listed in `skipped`,
    with reasons in `problems`. Splits by a hash of the path from the folder: "train", and "validation" with
    about 5 % (at least one picture). Raises UserError for a folder that is missing, holds fewer than two
    pictures that open, has more broken ones than allowed, or unusable metadata.

    Args:
        path: the folder; a relative one starts at the working directory.
        size: height and width of the examples.
        background: what transparent pictures lie on, a colour name or "#rrggbb".
        max_broken: the share of broken files up to which they are left out instead of being an error.
    """

    def __init__(
        self,
        *,
        path: str,
        size: Annotated[int, Field(ge=8, le=4096)],
        background: str = "white",
        max_broken: Annotated[float, Field(ge=0, le=1)] = 0.05,
    ) -> None:
        self._root, self._size, self._background = Path(path).expanduser(), size, background
        try:
            ImageColor.getrgb(background)
        except ValueError:
            raise UserError(f"image-folder: unknown colour '{background}' as background") from None
        listing = list_folder(self._root)
        self.fields, self.classes = listing.fields, listing.classes
        self._entries, self.problems = self._open_all(listing)
        self.skipped: Sequence[Path] = tuple(self.problems)
        self._check(len(listing.rows), max_broken)
        self._validation = _validation([e.row.name for e in self._entries])
        self._set_digest()

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        entry = self._entries[index]
        pixels = self._read(entry.row) if entry.pixels is None else entry.pixels
        return {"image": pixels, **entry.row.values}

    def split(self, name: str) -> ImageFolder:
        """The pictures of one split; ValueError names the splits there are."""
        if name not in ("train", "validation"):
            raise ValueError(f"image-folder has no split '{name}'; there are train, validation")
        part = copy(self)
        wanted = name == "validation"
        part._entries = [e for e in self._entries if (e.row.name in self._validation) == wanted]
        part._set_digest()
        return part

    def _read(self, row: Row) -> UInt8[Tensor, "3 H W"]:
        """Raises PictureError."""
        picture = open_picture(self._root / row.name, background=self._background)
        return to_tensor(ImageOps.fit(picture, (self._size, self._size), Image.Resampling.LANCZOS))

    def _open_all(self, listing: Listing) -> tuple[list[Entry], dict[Path, str]]:
        """Those that open, and what is wrong with the others by path."""
        entries: list[Entry] = []
        problems: dict[Path, str] = {}
        room = MEMORY // (3 * self._size**2)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for row, opened in zip(listing.rows, pool.map(self._try, listing.rows), strict=True):
                if isinstance(opened, str):
                    problems[self._root / row.name] = opened
                else:
                    content = hashlib.sha256(opened.numpy().tobytes()).hexdigest()
                    entries.append(Entry(row, content, opened if len(entries) < room else None))
        return entries, problems

    def _try(self, row: Row) -> UInt8[Tensor, "3 H W"] | str:
        try:
            return row.problem or self._read(row)
        except PictureError as error:
            return str(error)

    def _check(self, total: int, max_broken: float) -> None:
        broken = len(self.problems)
        if broken > max_broken * total:
            first = "; ".join(list(self.problems.values())[:SHOWN])
            raise UserError(
                f"image-folder: {broken} of {total} pictures in {self._root} cannot be used, more than "
                f"max_broken {max_broken:g} allows: {first}{'; ...' if broken > SHOWN else ''}"
            )
        if len(self._entries) < 2:
            raise UserError(
                f"image-folder: {self._root} holds {len(self._entries)} usable pictures; two are needed"
            )

    def _set_digest(self) -> None:
        """Of the pictures as they are given out, their names and fields: nothing else matters to a cache."""
        content = [(e.row.name, e.content, e.row.values) for e in self._entries]
        self.digest = hashlib.sha256(json.dumps([self._size, content]).encode()).hexdigest()


def _validation(names: Sequence[str]) -> frozenset[str]:
    """The paths that are held out: those that hash into the first 5 %; one at least, not all."""
    order = sorted(names, key=fraction)
    count = sum(fraction(name) < VALIDATION for name in names)
    return frozenset(order[: min(max(count, 1), len(names) - 1)])
