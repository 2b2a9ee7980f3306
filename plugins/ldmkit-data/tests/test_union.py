"""Several data sets as one: in order, with what they share."""

from __future__ import annotations

import pytest
import torch
from ldmkit_data.emoji.dataset import EmojiDataset
from ldmkit_data.emoji.styles import EmojiStyles
from ldmkit_data.image_folder import ImageFolder
from ldmkit_data.union import Union
from PIL import Image

from ldmkit.errors import UserError


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


def folders(place, **classes):
    """Image folders with four pictures of each of those classes."""
    for name, held in classes.items():
        for kind in held:
            (place / name / kind).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 8), (i, 0, 0)).save(place / name / kind / f"{i}.png")
    return tuple(ImageFolder(path=place / name, size=8) for name in classes)


def test_parts_that_count_their_classes_differently_are_refused_where_the_class_is_read(tmp_path) -> None:
    union = Union(parts=folders(tmp_path, a=("cat", "dog"), b=("bird", "cat")))
    assert len(union.reading(["caption"])) == 16
    with pytest.raises(UserError, match="label 0 is 'cat' in part 0, but 'bird' in part 1"):
        union.reading(["label"])
    more = Union(parts=folders(tmp_path, c=("ant", "bee"), d=("ant", "bee", "cow")))
    assert len(more.reading(["label"])) == 20
    assert more.class_names == {"label": ("ant", "bee", "cow")}
    assert not union.class_names


def test_what_the_parts_say_of_their_files_is_said(tmp_path) -> None:
    parts = folders(tmp_path, a=("x",), b=("y",))
    (tmp_path / "b/y/4.bmp").write_bytes(b"")
    (tmp_path / "b/y/9.txt").write_text("beside nothing")
    second = ImageFolder(path=tmp_path / "b", size=8, max_broken=0.5)
    union = Union(parts=(parts[0], second))
    assert union.notes == ["part 1: caption files without a picture beside them: 1, such as y/9.txt"]
    (reason,) = union.problems.values()
    assert "4.bmp: .bmp files are not read" in reason
    assert union.name(5) == str(tmp_path / "b/y/1.png")
