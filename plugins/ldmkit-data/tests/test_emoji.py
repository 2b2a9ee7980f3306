"""The emoji set: complete, split for good, with the captions that recipes count on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ldmkit_data.emoji.dataset import STYLES, EmojiDataset
from ldmkit_data.emoji.splits import SPLITS, split_of
from ldmkit_data.emoji.styles import EmojiStyles

from ldmkit.host.plugins import host
from ldmkit.testing.pictures import check_data

SCRIPT = Path(__file__).parents[1] / "scripts" / "build_emoji.py"


@pytest.fixture(scope="module")
def emoji() -> EmojiDataset:
    return EmojiDataset()


def keys(data: EmojiDataset) -> set[tuple[str, str]]:
    return {(row.concept, row.style) for row in data._rows}


def example(data: EmojiDataset, concept: str, style: str) -> Mapping[str, Any]:
    wanted = [i for i, row in enumerate(data._rows) if (row.concept, row.style) == (concept, style)]
    return data[wanted[0]]


def test_the_plugin_registers_it() -> None:
    assert host().registry.get("data", "fluent-emoji").load() is EmojiDataset


def test_it_keeps_the_contract(emoji: EmojiDataset) -> None:
    check_data(emoji)


def test_the_set_is_whole(emoji: EmojiDataset) -> None:
    assert Counter(row.style for row in emoji._rows) == {"fluent": 1352, "noto": 1388}
    assert len(keys(emoji)) == len(emoji) == 2740


def test_every_picture_shows_something_on_white(emoji: EmojiDataset) -> None:
    pictures = torch.stack([emoji[i]["image"] for i in range(len(emoji))])
    assert pictures.shape == (2740, 3, 64, 64)
    assert pictures.dtype == torch.uint8
    assert (pictures.flatten(1).float().std(1) > 8).all()
    corners = pictures[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].float().mean(1)
    assert (corners > 250).float().mean() > 0.9
    assert len({picture.numpy().tobytes() for picture in pictures}) > 2700


def test_a_known_emoji_is_the_right_one(emoji: EmojiDataset) -> None:
    """A red apple is red in the middle, a fox orange, in both styles."""
    for concept, least, most in (("1f34e", 0, 90), ("1f98a", 60, 190)):
        for style in ("fluent", "noto"):
            red, green, blue = example(emoji, concept, style)["image"][:, 30:38, 12:20].float().mean((1, 2))
            assert least <= green <= most, (concept, style)
            assert red > 150 > 120 > blue, (concept, style)


def test_captions_name_style_and_concept(emoji: EmojiDataset) -> None:
    fluent, noto = (example(emoji, "1f98a", style) for style in ("fluent", "noto"))
    assert fluent["caption"] == "3D fox"
    assert noto["caption"] == "flat fox"
    assert fluent["captions"] == ("3D fox", "fox, 3D", "3D fox: animal, face", "fox")
    assert noto["captions"] == ("flat fox", "fox, flat", "flat fox: animal, face")
    korean = EmojiDataset(language="ko", styles=("noto",), tags=0)
    assert example(korean, "1f98a", "noto")["captions"] == ("평면 여우 얼굴", "여우 얼굴, 평면", "여우 얼굴")


def test_every_example_has_the_fields_and_distinct_captions(emoji: EmojiDataset) -> None:
    assert emoji[0].keys() - {"image"} == set(emoji.fields)
    for row in emoji._rows:
        assert len(set(row.captions)) == len(row.captions)
    repeated = Counter(row.captions[0] for row in emoji._rows)
    assert max(repeated.values()) == 1


def test_splits_hold_out_concepts_and_pairs(emoji: EmojiDataset) -> None:
    train, concepts, pairs = (keys(emoji.split(name)) for name in SPLITS)
    assert train | concepts | pairs == keys(emoji)
    assert len(train) + len(concepts) + len(pairs) == len(emoji)
    assert not {c for c, _ in concepts} & {c for c, _ in train | pairs}
    other = {"fluent": "noto", "noto": "fluent"}
    assert all((concept, other[style]) in train for concept, style in pairs)
    assert 0.04 < len({c for c, _ in concepts}) / 1388 < 0.06
    assert 0.06 < len(pairs) / 1352 < 0.08
    assert min(Counter(style for _, style in pairs).values()) > 40
    assert keys(emoji.split("validation")) == concepts
    with pytest.raises(ValueError, match="train, concepts, pairs, validation"):
        emoji.split("test")


def test_splits_never_move(emoji: EmojiDataset) -> None:
    """Trained weights count on these: a picture that moves has been seen."""
    assert [len(emoji.split(name)) for name in SPLITS] == [2506, 138, 96]
    both = ("fluent", "noto")
    assert [split_of(c, "fluent", both) for c in ("1f98a", "1f34e", "1f600")] == ["train"] * 3
    assert keys(EmojiDataset(styles=("noto",)).split("pairs")) <= keys(emoji.split("pairs"))
    other = EmojiDataset(size=32, language="ko", tags=0)
    assert keys(other.split("concepts")) == keys(emoji.split("concepts"))


def test_the_digest_follows_what_examples_hold(emoji: EmojiDataset) -> None:
    same = EmojiDataset(styles=("fluent", "noto"))
    assert same.digest == emoji.digest
    assert same.split("train").digest == emoji.split("train").digest
    others = [EmojiDataset(size=32), EmojiDataset(tags=1), EmojiDataset(language="ko")]
    assert len({data.digest for data in [emoji, *others, *map(emoji.split, SPLITS)]}) == 7


def test_size_resizes_and_styles_choose(emoji: EmojiDataset) -> None:
    small = EmojiDataset(size=32, styles=("noto", "fluent"))
    halved = torch.nn.functional.avg_pool2d(example(emoji, "1f34e", "noto")["image"].float(), 2)
    assert (example(small, "1f34e", "noto")["image"].float() - halved).abs().mean() < 4
    assert example(small, "1f34e", "noto")["captions"][-1] == "red apple"
    with pytest.raises(ValueError, match="twice"):
        EmojiDataset(styles=("noto", "noto"))


def test_pictures_are_those_of_the_six_styles(emoji: EmojiDataset) -> None:
    others = EmojiStyles(size=64, styles=("fluent", "noto"))
    assert [(row.concept, row.style) for row in others._rows] == [
        (row.concept, row.style) for row in emoji._rows
    ]
    assert all(torch.equal(emoji[i]["image"], others[i]["image"]) for i in range(0, len(emoji), 20))


def test_the_script_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "emojibase-data-17.0.0.tgz is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_contents_name_the_picture_whose_words_are_others(emoji: EmojiDataset) -> None:
    before, other = emoji.contents, EmojiDataset(tags=0).contents
    assert len(before) == len(emoji)
    with zipfile.ZipFile(STYLES / "noto.zip") as archive:
        picture = archive.read("1f98a.webp")
    (captions,) = (e["captions"] for e in emoji if (e["concept"], e["style"]) == ("1f98a", "noto"))
    expected = hashlib.sha256(picture + json.dumps(captions).encode()).hexdigest()
    assert before["noto/1f98a"] == expected[:12] != other["noto/1f98a"]
    assert before.keys() == other.keys()
