"""Attributes of an avatar by name, and its captions in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

from PIL import ImageColor

from ldmkit_avatars.drawing import Choice
from ldmkit_avatars.styles import Attribute, Words, knowledge, painted_in, table

Language = Literal["en", "ko"]
LANGUAGES: Mapping[Language, int] = {"en": 0, "ko": 1}
TONES: tuple[tuple[float, Words], ...] = (
    (0.62, ("light skin", "밝은 피부")),
    (0.38, ("medium skin", "중간 피부")),
    (0.0, ("dark skin", "어두운 피부")),
)
"""Luma from which on a skin has that tone."""
NONE = "none"
"""The value of an attribute whose part is left out."""


def attributes(name: str, choice: Choice) -> dict[str, str]:
    """English values by attribute, such as "hair": "spiky hair" and "hair colour": "brown"; "none" for parts
    that are missing."""
    phrases = {}
    for key, attribute in knowledge(name).attributes.items():
        variant = choice.variants.get(attribute.part or key)
        if attribute.words:
            phrases[key] = NONE if variant is None else attribute.words[variant][0]
        colour = _colour(name, key, attribute, choice)
        if colour is not None:
            phrases[f"{key} colour" if attribute.words else key] = colour[0]
    return phrases


def captions(name: str, choice: Choice, languages: tuple[Language, ...]) -> tuple[str, ...]:
    """The whole caption in each language, followed, in each, by the style with its first two phrases."""
    known = knowledge(name)
    phrases = [p for key, a in known.attributes.items() if (p := _phrase(name, key, a, choice)) is not None]
    sentences = [
        _join([known.name, *some], language) for some in (phrases, phrases[:2]) for language in languages
    ]
    return tuple(dict.fromkeys(sentences))


def _join(phrases: list[Words], language: Language) -> str:
    return ", ".join(phrase[LANGUAGES[language]] for phrase in phrases)


def _phrase(name: str, key: str, attribute: Attribute, choice: Choice) -> Words | None:
    """What a caption says of one attribute; None where its part is left out."""
    variant = choice.variants.get(attribute.part or key)
    if attribute.words and variant is None:
        return None
    words = attribute.words.get(variant or "", attribute.after)
    colour = _colour(name, key, attribute, choice) or ("", "")
    return f"{colour[0]} {words[0]}".strip(), f"{colour[1]} {words[1]}".strip()


def _colour(name: str, key: str, attribute: Attribute, choice: Choice) -> Words | None:
    """The word for an attribute's colour, where it has one in what is drawn."""
    part = attribute.part or key
    variant = choice.variants.get(part) if attribute.words else None
    if attribute.words and variant is None:
        return None
    there = set(attribute.colours) if variant is None else painted_in(name, part, variant)
    value = next((choice.colours[c] for c in attribute.colours if c in there and c in choice.colours), None)
    if value is None:
        return None
    return _tone(value) if attribute.tone else colour_word(value)


def _tone(colour: str) -> Words:
    red, green, blue = ImageColor.getrgb(colour)[:3]
    luma = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    return next(words for least, words in TONES if luma >= least)


@cache
def colour_word(colour: str) -> Words:
    """The word of the colour whose example is nearest by distance in CIELAB."""
    examples = ((name, entry.ko, like) for name, entry in table().colours.items() for like in entry.like)
    name, korean, _ = min(examples, key=lambda example: _distance(example[2], colour))
    return name, korean


def _distance(first: str, second: str) -> float:
    return sum((a - b) ** 2 for a, b in zip(_lab(first), _lab(second), strict=True))


@cache
def _lab(colour: str) -> tuple[float, float, float]:
    """CIE 1976 L*, a*, b* of an sRGB colour, white point D65."""
    linear = [_linear(c / 255) for c in ImageColor.getrgb(colour)[:3]]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    x, y, z = (
        _root(sum(r * c for r, c in zip(row, linear, strict=True)) / w)
        for row, w in zip(rows, white, strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _linear(c: float) -> float:
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def _root(t: float) -> float:
    return t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29
