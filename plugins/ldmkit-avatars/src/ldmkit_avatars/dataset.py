"""The data sets `avatars` and `landscapes`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
from einops import rearrange
from pydantic import Field

from ldmkit_avatars.maps import boxes
from ldmkit_avatars.shards import SHARD, Drawn, Shard, decode, read_all
from ldmkit_avatars.styles import CLASSES, knowledge, text
from ldmkit_avatars.words import Language, attributes, captions

Size = Annotated[int, Field(ge=16, le=1024)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Languages = Annotated[tuple[Language, ...], Field(min_length=1)]
LIBRARIES = ("dicebear-core", "dicebear-styles", "resvg-py")
"""What draws."""
SPLITS = ("train", "validation", "unseen")
UNSEEN = 0.1
"""The share of combinations of two attributes that training never sees together."""
VALIDATION = 0.05
"""The share of the other avatars that is held out."""


@dataclass(frozen=True)
class Row:
    """One avatar of the set."""

    drawn: Drawn
    style: str
    split: str


class Drawings:
    """Base of data sets of drawings in some styles, which take turns; the i-th of a style and seed is always
    the same."""

    classes: Sequence[str] = CLASSES
    fields: tuple[str, ...] = (
        "caption", "captions", "label", "class_name", "attributes", "segmentation", "layout",
    )  # fmt: skip
    skipped: Sequence[Path] = ()
    buckets: Sequence[Sequence[int]] = ()

    def __init__(
        self, styles: tuple[str, ...], size: int, count: int, seed: int, languages: tuple[Language, ...]
    ) -> None:
        self._styles, self._languages, self._split = styles, languages, ""
        self._size, self._count, self._seed = size, count, seed
        self._settings = json.dumps([styles, size, count, seed, languages])
        for style in styles:
            knowledge(style)

    @cached_property
    def _rows(self) -> list[Row]:
        """All of the set, drawn when the first of them is asked for."""
        styles, count = self._styles, self._count
        per_style = {s: len(range(i, count, len(styles))) for i, s in enumerate(styles)}
        drawn = {s: _drawn(s, self._size, self._seed, n) for s, n in per_style.items()}
        turns = [(styles[i % len(styles)], i // len(styles)) for i in range(count)]
        return [Row(drawn[s][i], s, split_of(s, f"{self._seed}/{i}", drawn[s][i])) for s, i in turns]

    @property
    def class_names(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes of each field, by id."""
        return {"label": self._styles, "segmentation": CLASSES, "layout": CLASSES}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        row = self._rows[index]
        labels = decode(row.drawn.labels)
        spoken = captions(row.style, row.drawn.choice, self._languages)
        return {
            "image": torch.from_numpy(rearrange(decode(row.drawn.picture), "h w c -> c h w").copy()),
            "caption": spoken[0],
            "captions": spoken,
            "label": self._styles.index(row.style),
            "class_name": row.style,
            "attributes": attributes(row.style, row.drawn.choice),
            "segmentation": torch.from_numpy(labels),
            "layout": boxes(labels),
        }

    @property
    def digest(self) -> str:
        """The sha256 of all that determines the examples: parameters, split, words, and the versions of the
        libraries that draw."""
        drawing = [version(name) for name in LIBRARIES]
        content = json.dumps([self._settings, self._split, drawing, text()])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def contents(self) -> Mapping[str, str]:
        """The versions of the libraries that draw, and a digest of the words; all else is in the recipe."""
        words = hashlib.sha256(json.dumps(text()).encode()).hexdigest()[:12]
        return {**{name: version(name) for name in LIBRARIES}, "words": words}

    def split(self, name: str) -> Drawings:
        """The examples of one split. Raises ValueError, which names the splits, for another one."""
        if name not in SPLITS:
            raise ValueError(f"avatars have no split '{name}'; there are {', '.join(SPLITS)}")
        part = copy(self)
        part._split = name
        part._rows = [row for row in self._rows if row.split == name]
        return part


class Avatars(Drawings):
    """Avatars in several styles, in any number and size; the i-th avatar of a seed is always the same one.

    Examples hold image (uint8 "3 H W"), caption (a full description in the first language), captions (the
    shorter ones too, and those in the other languages), label (the style's place in `styles`), class_name
    (the style), attributes (English values by name), segmentation (uint8 "H W", ids of `classes`), and layout
    (a tuple of (class, x, y, width, height) with sides in [0, 1], one for each class that can be seen).

    They are drawn when they are first used, on all cores, and kept below $LDMKIT_CACHE (default
    ~/.cache/ldmkit). The split "unseen" has combinations of two attributes (hair and clothes, say) that
    "train" and "validation" never show together, though they show each by itself; "validation" is about 5 %
    of the rest. Raises ValueError for a style that is not known or has no open licence. Licences and credits:
    NOTICE.

    Args:
        size: height and width of the pictures and maps.
        styles: which styles of dicebear-styles, in equal numbers.
        count: how many avatars in all.
        seed: what they are drawn from.
        languages: of the captions; the first is the canonical caption's.
    """

    def __init__(
        self,
        *,
        size: Size = 128,
        styles: Annotated[tuple[str, ...], Field(min_length=1)] = (
            "toon-head", "personas", "micah", "big-smile", "voxel-art", "sprouts",
        ),
        count: Count = 12000,
        seed: int = 0,
        languages: Languages = ("en",),
    ) -> None:  # fmt: skip
        if len(set(styles)) < len(styles):
            raise ValueError(f"styles names one twice: {', '.join(styles)}")
        super().__init__(styles, size, count, seed, languages)


class Landscapes(Drawings):
    """Hills under a sky, in any number and size; examples, splits and cache as those of `avatars`.

    The classes of their maps are sky, sun, far hills, middle hills, near hills, foreground. `WideMap`
    continues such a map sideways without end.

    Args:
        size: height and width of the pictures and maps.
        count: how many landscapes in all.
        seed: what they are drawn from.
        languages: of the captions; the first is the canonical caption's.
    """

    def __init__(
        self, *, size: Size = 128, count: Count = 6000, seed: int = 0, languages: Languages = ("en",)
    ) -> None:
        super().__init__(("landscape",), size, count, seed, languages)


def split_of(style: str, seed: str, drawn: Drawn) -> str:
    """The split of an avatar, which depends on its style, seed and attributes alone."""
    values = attributes(style, drawn.choice)
    pair = [values.get(name, "") for name in knowledge(style).unseen]
    if _fraction(f"apart {style} {pair}") < UNSEEN:
        return "unseen"
    return "validation" if _fraction(f"validation {style} {seed}") < VALIDATION else "train"


def _drawn(style: str, size: int, seed: int, count: int) -> list[Drawn]:
    """The first `count` avatars of a style."""
    shards = [Shard(style, size, seed, number) for number in range(-(-count // SHARD))]
    return [drawn for shard in read_all(shards) for drawn in shard][:count]


def _fraction(key: str) -> float:
    """A number in [0, 1) that only `key` determines."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48
