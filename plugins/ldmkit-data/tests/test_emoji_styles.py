"""The six-style emoji set: complete, split by the same rule, with captions in two languages."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from ldmkit_data.emoji.dataset import STYLES, EmojiDataset
from ldmkit_data.emoji.splits import SPLITS
from ldmkit_data.emoji.styles import COLOURS, EmojiStyles

from ldmkit.host.plugins import host


@pytest.fixture(scope="module")
def emoji() -> EmojiStyles:
    return EmojiStyles()


def keys(data: EmojiStyles) -> set[tuple[str, str]]:
    return {(row.concept, row.style) for row in data._rows}


def captions(data: EmojiStyles, concept: str, style: str) -> tuple[str, ...]:
    (row,) = [row for row in data._rows if (row.concept, row.style) == (concept, style)]
    return row.captions


def test_the_plugin_registers_it() -> None:
    assert host().registry.get("data", "emoji").load() is EmojiStyles


def test_the_set_is_whole_and_small(emoji: EmojiStyles) -> None:
    assert Counter(row.style for row in emoji._rows) == {
        "fluent": 1352,
        "fluent-flat": 1339,
        "noto": 1388,
        "noto-v1": 984,
        "emojione": 857,
        "fxemoji": 215,
    }
    assert len(keys(emoji)) == len(emoji)
    assert sum(file.stat().st_size for file in STYLES.iterdir()) < 17e6


def test_pictures_show_something_on_white(emoji: EmojiStyles) -> None:
    pictures = torch.stack([emoji[i]["image"] for i in range(0, len(emoji), 40)])
    assert pictures.shape[1:] == (3, 128, 128)
    assert (pictures.flatten(1).float().std(1) > 8).all()
    corners = pictures[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].float().mean(1)
    assert (corners > 250).float().mean() > 0.85


def test_a_concept_is_the_same_thing_in_every_style(emoji: EmojiStyles) -> None:
    """A tomato is red in the middle, whoever draws it."""
    found = [i for i, row in enumerate(emoji._rows) if row.concept == "1f345"]
    assert len(found) >= 5
    for i in found:
        red, green, blue = emoji[i]["image"][:, 56:88, 40:88].float().mean((1, 2))
        assert red > 150 > 120 > max(green, blue), emoji._rows[i].style


def test_captions_come_in_both_languages_with_tags_and_colours() -> None:
    both = EmojiStyles(languages=("en", "ko"), styles=("fluent", "noto"), tags=2)
    assert captions(both, "1f98a", "noto") == (
        "flat fox",
        "평면 여우 얼굴",
        "fox, flat",
        "flat fox: animal, face",
        "flat fox, orange and white",
        "여우 얼굴, 평면",
        "평면 여우 얼굴: 동물",
        "평면 여우 얼굴, 주황색, 흰색",
    )
    assert captions(both, "1f98a", "fluent")[0] == "3D fox"
    assert "fox" in captions(both, "1f98a", "fluent")
    korean = EmojiStyles(languages=("en", "ko"), styles=("fluent", "noto"), tags=2, language="ko")
    assert captions(korean, "1f98a", "noto")[:2] == ("평면 여우 얼굴", "flat fox")
    plain = EmojiStyles(languages=("ko",), styles=("noto",), tags=0, colours=False)
    assert captions(plain, "1f98a", "noto") == ("평면 여우 얼굴", "여우 얼굴, 평면", "여우 얼굴")


def test_named_colours_have_korean_words(emoji: EmojiStyles) -> None:
    named = {word for row in emoji._rows for word in row.captions[-1].split(", ")[-1].split(" and ")}
    assert set(COLOURS) <= named


def test_canonical_captions_are_distinct(emoji: EmojiStyles) -> None:
    assert max(Counter(row.captions[0] for row in emoji._rows).values()) == 1


def test_splits_hold_out_concepts_in_every_style_and_pairs_in_one(emoji: EmojiStyles) -> None:
    train, concepts, pairs = (keys(emoji.split(name)) for name in SPLITS)
    assert train | concepts | pairs == keys(emoji)
    assert [len(train), len(concepts), len(pairs)] == [5725, 313, 97]
    assert not {c for c, _ in concepts} & {c for c, _ in train | pairs}
    assert {c for c, _ in pairs} <= {c for c, _ in train}
    old = EmojiDataset().split("concepts")
    assert {c for c, _ in concepts} == {row.concept for row in old._rows}
    assert keys(emoji.split("validation")) == concepts
    assert keys(EmojiStyles(styles=("noto",)).split("pairs")) <= pairs


def test_the_digest_follows_what_examples_hold(emoji: EmojiStyles) -> None:
    others = [EmojiStyles(size=64), EmojiStyles(tags=1), EmojiStyles(languages=("ko",))]
    assert EmojiStyles().digest == emoji.digest
    assert len({data.digest for data in [emoji, *others, emoji.split("train")]}) == 5
    with pytest.raises(ValueError, match="twice"):
        EmojiStyles(styles=("noto", "noto"))
