"""The data set `emoji`: six styles at 128 pixels, in two languages."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, NonNegativeInt

from ldmkit_data.emoji.captions import telling
from ldmkit_data.emoji.dataset import FOLDER, STORED, STYLES, Emoji, EmojiPictures, Pictures
from ldmkit_data.emoji.splits import split_of

Style = Literal["fluent", "fluent-flat", "noto", "noto-v1", "emojione", "fxemoji"]
Language = Literal["en", "ko"]
WORDS: Mapping[Style, Mapping[Language, str]] = {
    "fluent": {"en": "3D", "ko": "3D"},
    "fluent-flat": {"en": "smooth", "ko": "매끈한"},
    "noto": {"en": "flat", "ko": "평면"},
    "noto-v1": {"en": "classic", "ko": "고전"},
    "emojione": {"en": "bright", "ko": "밝은"},
    "fxemoji": {"en": "bold", "ko": "굵은"},
}
"""The word that names a style at the head of its captions."""
COLOURS = {
    "black": "검은색", "gray": "회색", "white": "흰색", "brown": "갈색", "red": "빨간색",
    "orange": "주황색", "yellow": "노란색", "green": "초록색", "teal": "청록색", "blue": "파란색",
    "purple": "보라색", "pink": "분홍색",
}  # fmt: skip
"""The colours that pictures are said to have, with their Korean words."""


class EmojiStyles(EmojiPictures):
    """Emoji with words in up to six styles: Microsoft's Fluent in 3D and flat, Google's Noto of today and of
    its first version, EmojiOne, Mozilla's FxEmoji; on white.

    Examples: image (uint8 "3 H W"), caption (the canonical one in the first language, as "3D fox"), captions
    (all that training may choose among), concept (hex code points), style, label (the style's place in
    `styles`), class_name (the style once more).

    Splits as those of `fluent-emoji`, by a hash of the code points whatever the parameters: "train";
    "concepts" (also "validation"), concepts held out in every style; "pairs", held-out pictures whose concept
    "train" has in other styles. Sources and licences: NOTICE.

    Args:
        size: height and width; the stored pictures have 128.
        styles: which picture sets, the one meant by captions without a style word first.
        languages: of the captions.
        language: of the canonical caption; by default the first of `languages`.
        tags: how many of a concept's tags the caption with tags names at most; 0 leaves that caption out.
        colours: add a caption that names the picture's colours.
    """

    _name = "emoji"
    fields = ("caption", "captions", "concept", "style", "label", "class_name")

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=1024)] = STORED,
        styles: Annotated[tuple[Style, ...], Field(min_length=1)] = get_args(Style),
        languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en",),
        language: Language | None = None,
        tags: NonNegativeInt = 4,
        colours: bool = True,
    ) -> None:
        if len(set(styles)) < len(styles):
            raise ValueError(f"styles names one twice: {', '.join(styles)}")
        if language is not None:
            languages = (language, *(other for other in languages if other != language))
        super().__init__(
            _rows(styles, languages, tags, colours),
            Pictures(size, styles),
            json.dumps([size, styles, languages, tags, colours]),
            [FOLDER / "index.jsonl", *(STYLES / f"{style}.zip" for style in styles)],
        )
        self._styles = styles

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        style = self._rows[index].style
        return {**super().__getitem__(index), "label": self._styles.index(style), "class_name": style}


def _rows(
    styles: Sequence[Style], languages: Sequence[Language], tags: int, colours: bool
) -> Iterator[Emoji]:
    """The pictures of `styles` in the order of Unicode."""
    lines = (STYLES / "colours.jsonl").read_text(encoding="utf-8").splitlines()
    painted = {entry["concept"]: entry["colours"] for entry in map(json.loads, lines)}
    there = {s: set(zipfile.ZipFile(STYLES / f"{s}.zip").namelist()) for s in get_args(Style)}
    for line in (FOLDER / "index.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        concept = entry["concept"]
        drawn = [style for style, files in there.items() if f"{concept}.webp" in files]
        for style in (s for s in styles if s in drawn):
            named = painted[concept][style] if colours else []
            spoken = {
                language: _spoken(entry, style, language, tags, named, style == styles[0])
                for language in languages
            }
            first = [spoken[language][0] for language in languages]
            rest = [caption for language in languages for caption in spoken[language][1:]]
            yield Emoji(
                concept, style, split_of(concept, style, drawn), tuple(dict.fromkeys([*first, *rest]))
            )


def _spoken(
    entry: Mapping[str, Any], style: Style, language: Language, tags: int, named: Sequence[str], plain: bool
) -> list[str]:
    """The captions of one picture in one language, the canonical one first: "3D fox", "fox, 3D", "3D fox:
    animal, face", "3D fox, orange and pink", and, where `plain`, "fox"."""
    word, label = WORDS[style][language], entry["label"][language]
    spoken = [f"{word} {label}", f"{label}, {word}"]
    words = telling(label, entry["tags"][language], tags)
    if words:
        spoken.append(f"{word} {label}: {', '.join(words)}")
    if named:
        colours = " and ".join(named) if language == "en" else ", ".join(COLOURS[name] for name in named)
        spoken.append(f"{word} {label}, {colours}")
    return [*spoken, label] if plain else spoken
