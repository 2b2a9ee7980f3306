"""The data set `fluent-emoji`: Fluent 3D and Noto emoji with their words."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from jaxtyping import UInt8
from PIL import Image
from pydantic import Field, NonNegativeInt
from torch import Tensor

from ldmkit.pictures import to_tensor
from ldmkit_data.emoji.captions import STYLE_WORDS, captions_of, telling
from ldmkit_data.emoji.splits import SPLITS, split_of

FOLDER = Path(__file__).parent
STYLES = FOLDER / "styles"
"""With a zip file of pictures a style."""
STORED = 128
"""Height and width of the stored pictures."""
Style = Literal["fluent", "noto"]


@dataclass(frozen=True)
class Emoji:
    """One picture of the set: where it is and what it says."""

    concept: str
    style: str
    split: str
    captions: tuple[str, ...]


class Pictures:
    """The pictures by style and concept, decoded when first asked for and kept as bytes (12 KB at 64x64)."""

    def __init__(self, size: int, styles: Sequence[str]) -> None:
        """size: height and width that the pictures of `styles` are resized to."""
        self._size, self._styles = size, styles
        self._decoded: dict[tuple[str, str], UInt8[Tensor, "3 H W"]] = {}

    @cached_property
    def _encoded(self) -> dict[tuple[str, str], bytes]:
        """All files of the pictures, read at once: an open archive cannot be shared by threads or
        processes."""
        pictures: dict[tuple[str, str], bytes] = {}
        for style in self._styles:
            with zipfile.ZipFile(STYLES / f"{style}.zip") as archive:
                pictures |= {(style, Path(n).stem): archive.read(n) for n in archive.namelist()}
        return pictures

    def encoded(self, row: Emoji) -> bytes:
        """The file of a row's picture."""
        return self._encoded[row.style, row.concept]

    def _decode(self, encoded: bytes) -> UInt8[Tensor, "3 H W"]:
        picture = Image.open(io.BytesIO(encoded), formats=["WEBP"]).convert("RGB")
        if self._size != STORED:
            picture = picture.resize((self._size, self._size), Image.Resampling.LANCZOS)
        return to_tensor(picture)

    def __getitem__(self, row: Emoji) -> UInt8[Tensor, "3 H W"]:
        key = row.style, row.concept
        if key not in self._decoded:
            self._decoded[key] = self._decode(self._encoded[key])
        return self._decoded[key]


class EmojiPictures:
    """A data set of emoji: rows of words with their pictures, split as `split_of` says.

    Args:
        rows: what is in it.
        pictures: those of the rows.
        settings: the parameters as text; they and the bytes of `sources` determine the examples.
        sources: the files that rows and pictures come from.
    """

    _name: str
    fields: tuple[str, ...] = ("caption", "captions", "concept", "style")
    skipped: Sequence[Path] = ()
    buckets: Sequence[Sequence[int]] = ()

    def __init__(
        self, rows: Iterable[Emoji], pictures: Pictures, settings: str, sources: Sequence[Path]
    ) -> None:
        self._rows, self._pictures = list(rows), pictures
        self._settings, self._sources, self._split = settings, sources, ""

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        row = self._rows[index]
        return {
            "image": self._pictures[row],
            "caption": row.captions[0],
            "captions": row.captions,
            "concept": row.concept,
            "style": row.style,
        }

    @cached_property
    def digest(self) -> str:
        """sha256 of the pictures, the words, the parameters and the split."""
        content = hashlib.sha256()
        for path in self._sources:
            content.update(hashlib.sha256(path.read_bytes()).digest())
        content.update(f"{self._settings} {[r.captions for r in self._rows]} {self._split}".encode())
        return content.hexdigest()

    @property
    def contents(self) -> Mapping[str, str]:
        """A digest of each picture and its words."""
        return {f"{row.style}/{row.concept}": self._content(row) for row in self._rows}

    def _content(self, row: Emoji) -> str:
        words = json.dumps(row.captions).encode()
        return hashlib.sha256(self._pictures.encoded(row) + words).hexdigest()[:12]

    def split(self, name: str) -> Self:
        """The pictures of one split, sharing the decoded ones; ValueError names the splits there are."""
        rows_of = "concepts" if name == "validation" else name
        if rows_of not in SPLITS:
            raise ValueError(f"{self._name} has no split '{name}'; there are {', '.join(SPLITS)}, validation")
        part = copy(self)
        part.__dict__.pop("digest", None)
        part._split = rows_of
        part._rows = [row for row in self._rows if row.split == rows_of]
        return part


class EmojiDataset(EmojiPictures):
    """Emoji with words: 1352 concepts as Microsoft's Fluent 3D and 1388 as Google's Noto, on white.

    Examples: image (uint8 "3 H W"), caption (the canonical one, as "3D fox" or "flat fox"), captions (all
    that training may choose among, the canonical one first), concept (hex code points), style ("fluent",
    "noto"). A caption without a style word means the first of `styles`.

    Splits, fixed by a hash of the code points whatever the parameters: "train"; "concepts" (also
    "validation"), concepts held out in every style; "pairs", held-out pictures whose concept "train" has in
    the other style. Sources and licences: NOTICE.

    Args:
        size: height and width; the stored pictures have 128.
        styles: which picture sets, the one meant by captions without a style word first.
        language: of the captions.
        tags: how many of a concept's tags the caption with tags names at most; 0 leaves that caption out.
    """

    _name = "fluent-emoji"

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=1024)] = 64,
        styles: Annotated[tuple[Style, ...], Field(min_length=1)] = ("fluent", "noto"),
        language: Literal["en", "ko"] = "en",
        tags: NonNegativeInt = 4,
    ) -> None:
        if len(set(styles)) < len(styles):
            raise ValueError(f"styles names one twice: {', '.join(styles)}")
        super().__init__(
            _rows(styles, language, tags),
            Pictures(size, styles),
            json.dumps([size, styles, language, tags]),
            [FOLDER / "index.jsonl", *(STYLES / f"{style}.zip" for style in get_args(Style))],
        )


def _rows(styles: Sequence[str], language: str, tags: int) -> Iterator[Emoji]:
    """The pictures of `styles` in the order of Unicode."""
    there = {style: set(zipfile.ZipFile(STYLES / f"{style}.zip").namelist()) for style in get_args(Style)}
    for line in (FOLDER / "index.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        concept, label = entry["concept"], entry["label"][language]
        drawn = [style for style, files in there.items() if f"{concept}.webp" in files]
        for style in (s for s in styles if s in drawn):
            word = STYLE_WORDS[language][style]
            captions = captions_of(
                label, telling(label, entry["tags"][language], tags), word, style == styles[0]
            )
            yield Emoji(concept, style, split_of(concept, style, drawn), captions)
