"""Several data sets as one: in order, with what they share."""

from __future__ import annotations

import pytest
import torch
from ldmkit_data.emoji.dataset import EmojiDataset
from ldmkit_data.emoji.styles import EmojiStyles
from ldmkit_data.union import Union


@pytest.fixture(scope="module")
def parts() -> tuple[EmojiDataset, EmojiStyles]:
    return EmojiDataset(size=32), EmojiStyles(size=32, styles=("fxemoji",))


def test_examples_come_one_part_after_another_with_shared_fields(parts) -> None:
    union, (first, second) = Union(parts=parts), parts
    assert len(union) == len(first) + len(second)
    assert set(union.fields) == {"caption", "captions", "concept", "style"}
    for index, example in (
        (0, first[0]),
        (len(first) - 1, first[-1]),
        (len(first), second[0]),
        (-1, second[-1]),
    ):
        index %= len(union)
        assert union[index].keys() == {"image", *union.fields}
        assert torch.equal(union[index]["image"], example["image"])
        assert union[index]["caption"] == example["caption"]


def test_splits_are_those_of_the_parts_that_have_them(parts) -> None:
    union = Union(parts=parts)
    assert len(union.split("train")) == sum(len(part.split("train")) for part in parts)
    assert union.split("train").digest != union.digest != Union(parts=parts[::-1]).digest
    with pytest.raises(ValueError, match=r"no split 'test'.*concepts"):
        union.split("test")


def test_what_cannot_be_joined_is_refused(parts) -> None:
    with pytest.raises(ValueError, match="one size"):
        Union(parts=(parts[0], EmojiStyles(size=16, styles=("fxemoji",))))
    with pytest.raises(ValueError, match="no data set"):
        Union(parts=())
