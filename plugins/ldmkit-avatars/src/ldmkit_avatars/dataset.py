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

from ldmkit_avatars.drawing import Choice
from ldmkit_avatars.maps import boxes
from ldmkit_avatars.shards import SHARD, Gallery, Shard, choices, decode
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
    """One avatar of the set: its place among the drawings, what its seed chose, and its split."""

    shard: Shard
    index: int
    choice: Choice
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
        self._gallery = Gallery(self._shards)
        self._settings = json.dumps([styles, size, count, seed, languages])
        for style in styles:
            knowledge(style)

    @cached_property
    def _rows(self) -> list[Row]:
        """All of the set, the styles in turns."""
        chosen = {shard: choices(shard) for shard in self._shards}
        places = [divmod(i // len(self._styles), SHARD) for i in range(self._count)]
        shards = [self._shard(self._styles[i % len(self._styles)], n) for i, (n, _) in enumerate(places)]
        turns = [(shard, j, chosen[shard][j]) for shard, (_, j) in zip(shards, places, strict=True)]
        return [Row(s, j, choice, split_of(s.style, s.seed_of(j), choice)) for s, j, choice in turns]

    def _shard(self, style: str, number: int) -> Shard:
        return Shard(style, self._size, self._seed, number)

    @property
    def _shards(self) -> list[Shard]:
        """The shards that hold the set."""
        per_style = {s: len(range(i, self._count, len(self._styles))) for i, s in enumerate(self._styles)}
        return [self._shard(s, number) for s, n in per_style.items() for number in range(-(-n // SHARD))]

    @property
    def class_names(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes of each field, by id."""
        return {"label": self._styles, "segmentation": CLASSES, "layout": CLASSES}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        row = self._rows[index]
        drawn, style = self._gallery[row.shard, row.index], row.shard.style
        labels = decode(drawn.labels)
        spoken = captions(style, row.choice, self._languages)
        return {
            "image": torch.from_numpy(rearrange(decode(drawn.picture), "h w c -> c h w").copy()),
            "caption": spoken[0],
            "captions": spoken,
            "label": self._styles.index(style),
            "class_name": style,
            "attributes": attributes(style, row.choice),
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

    The first few that are used are drawn by themselves; one more, and all are drawn, on all cores, and kept
    below $LDMKIT_CACHE (default ~/.cache/ldmkit). The split "unseen" has combinations of two attributes (hair
    and clothes, say) that "train" and "validation" never show together, though they show each by itself;
    "validation" is about 5 % of the rest. Raises ValueError for a style that is not known or has no open
    licence. Licences and credits: NOTICE.

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


def split_of(style: str, seed: str, choice: Choice) -> str:
    """The split of an avatar, which depends on its style, seed and attributes alone."""
    values = attributes(style, choice)
    pair = [values.get(name, "") for name in knowledge(style).unseen]
    if _fraction(f"apart {style} {pair}") < UNSEEN:
        return "unseen"
    return "validation" if _fraction(f"validation {style} {seed}") < VALIDATION else "train"


def _fraction(key: str) -> float:
    """A number in [0, 1) that only `key` determines."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6]) / 2**48
