"""The data set `image-folder`: any folder of pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ldmkit.pictures import Cut, Lack, PictureData, decode
from ldmkit.types import FieldKind
from ldmkit_data.digests import digest_of
from ldmkit_data.files import FieldFiles
from ldmkit_data.index import Index
from ldmkit_data.listing import list_folder
from ldmkit_data.rows import Row, note_of_classes, uncollected

DECODED = 4096
"""Pictures up to which a folder is read whole when it is first seen, so that damaged files are found then."""


class ImageFolder(PictureData):
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
    """

    _kind = "image-folder"

    def __init__(self, *, path: Path, **options: Any) -> None:
        super().__init__(**options)
        self._root = Path(path)
        with uncollected():
            self._look()

    def _look(self) -> None:
        """Lists the folder's files and looks at each."""
        listing = list_folder(self._root)
        self._rows, self.classes = listing.rows, listing.classes
        self._index = Index(self._root)
        self._files = FieldFiles(self._root, self._index, {})
        sound = [row.name for row in self._rows if row.problem is None]
        self._entries = self._index.look(sound, decoded=len(self._rows) <= DECODED)
        problems = {i: problem for i, row in enumerate(self._rows) if (problem := self._problem(row))}
        lacks = {i: Lack(listing.fields, row.lacks) for i, row in enumerate(self._rows) if row.lacks}
        keys = [row.name for row in self._rows]
        self._open(str(self._root), keys, listing.fields, problems, lacks)
        opening = {row.values.get("class_name") for i, row in enumerate(self._rows) if i not in problems}
        self._left_alone = (*listing.notes, *note_of_classes({*self.classes} - opening))

    @property
    def class_names(self) -> Mapping[str, Sequence[str]]:
        """What the labels of class folders are called."""
        return {"label": self.classes} if "label" in self.fields and self.classes else {}

    @property
    def notes(self) -> Sequence[str]:
        """Lines for a person about the choice of pictures."""
        return [*self._left_alone, *super().notes]

    def aligned(self, kinds: Mapping[str, FieldKind]) -> Self:
        """The data set with those of its fields that hold files of pictures, masks or class maps as tensors
        ("3 h w", "H W", "H W") cut as the picture is, and boxes within what is cut out.

        Examples whose files are missing or broken are left out like those with broken pictures.
        """
        part = super().aligned(kinds)
        part._files = FieldFiles(self._root, self._index, part._kinds)
        rows = [self._rows[place] for place in self._places]
        wrong = part._files.problems(rows, decoded=len(rows) <= DECODED)
        part._broken.problems.update({self._places[i]: problem for i, problem in wrong.items()})
        part._places = [place for i, place in enumerate(self._places) if i not in wrong]
        part._broken.check()
        return part

    @cached_property
    def digest(self) -> str:
        """A digest of the files' content (not their times), the fields and the settings."""
        with uncollected():
            return digest_of(self._settings, (self._content(place) for place in self._places))

    @cached_property
    def picture_digest(self) -> str:
        """A digest of the pictures alone, as they are shown without random draws."""
        names = (self._rows[place].name for place in self._places)
        return digest_of(self._picture_settings, (self._entries[name].content for name in names))

    @property
    def contents(self) -> Mapping[str, str]:
        """A digest of each picture with its fields, by its file's name."""
        places = self._places
        return {self._rows[i].name: digest_of([], iter([self._content(i)]))[:12] for i in places}

    def _problem(self, row: Row) -> str | None:
        """Why a picture cannot be used."""
        return row.problem or self._entries[row.name].problem

    def _content(self, place: int) -> list[Any]:
        row = self._rows[place]
        return [row.name, self._entries[row.name].content, row.values, self._files.contents(row)]

    def _name(self, place: int) -> str:
        return str(self._root / self._rows[place].name)

    def _size(self, place: int) -> tuple[int, int]:
        entry = self._entries[self._rows[place].name]
        return entry.width, entry.height

    def _example(self, place: int, fields: Collection[str], key: int | None) -> Mapping[str, Any]:
        row, image = self._rows[place], {}
        if "image" in fields:
            cut, pixels = decode(self._root / row.name, lambda p: self._views.picture(p, key))
            image = {"image": pixels}
        else:
            cut = self._views.cut(self._size(place))
        return {**image, **{f: self._value(row, f, cut, key) for f in row.values if f in fields}}

    def _value(self, row: Row, field: str, cut: Cut, key: int | None) -> Any:
        value = row.values[field]
        if self._kinds.get(field) == "boxes":
            try:
                return cut.boxes(value)
            except ValueError as error:
                raise ValueError(f"{self._root / row.name}: its {field}: {error}") from None
        if self._is_text(field):
            return self._views.text(value, key)
        return self._files.shown(row, field, cut, self._views.background)
