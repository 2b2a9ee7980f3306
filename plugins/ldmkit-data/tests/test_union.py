"""Several data sets as one: in order, with what they share."""

from __future__ import annotations

import pytest
import torch
from ldmkit_data.emoji.dataset import EmojiDataset
from ldmkit_data.emoji.styles import EmojiStyles
from ldmkit_data.image_folder import ImageFolder
from ldmkit_data.union import Union
from PIL import Image


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


def test_parts_leave_out_what_lacks_a_field_that_is_read(tmp_path) -> None:
    for part, lacking in (("a", 4), ("b", 0)):
        (tmp_path / part).mkdir()
        for i in range(8):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / part / f"{i}.png")
            if i >= lacking:
                (tmp_path / part / f"{i}.txt").write_text(f"number {i}")
    parts = tuple(ImageFolder(path=tmp_path / part, size=8, max_broken=0.6) for part in "ab")
    union = Union(parts=parts)
    captioned, every = union.reading(["caption"]), union.reading(["mask"])
    assert (len(captioned), captioned.fields) == (12, ("caption",))
    assert (len(every), every.fields) == (16, ())
