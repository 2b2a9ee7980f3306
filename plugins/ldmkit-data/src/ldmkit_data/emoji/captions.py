"""What the captions of the emoji say."""

from __future__ import annotations

from collections.abc import Sequence

STYLE_WORDS = {"en": {"fluent": "3D", "noto": "flat"}, "ko": {"fluent": "3D", "noto": "평면"}}
"""The word that names a style: plain words that a text encoder tells apart, unlike the sets' own names."""


def captions_of(label: str, tags: Sequence[str], word: str, plain: bool) -> tuple[str, ...]:
    """The captions of one picture, the canonical one ("3D fox") first.

    The style's word comes first there, so that its token stands at the same place whatever the label. The
    others move it to the end ("fox, 3D"), add `tags` ("3D fox: animal, nature") and, where `plain`, leave the
    style out ("fox").
    """
    spoken = [f"{word} {label}", f"{label}, {word}"]
    if tags:
        spoken.append(f"{word} {label}: {', '.join(tags)}")
    return (*spoken, label) if plain else tuple(spoken)


def telling(label: str, tags: Sequence[str], limit: int) -> list[str]:
    """The first `limit` tags that say something that the label does not."""
    return [tag for tag in tags if tag.lower() not in label.lower()][:limit]
