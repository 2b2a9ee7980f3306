"""Folders that were written on another system or by another program: spellings, encodings, further files."""

from __future__ import annotations

import json
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from ldmkit_data.image_folder import ImageFolder
from PIL import Image

from ldmkit.errors import UserError

COMPOSED, DECOMPOSED = (normalize(form, "고양이é") for form in ("NFC", "NFD"))


def paint(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level,) * 3).save(path)


def opened(folder: Path) -> ImageFolder:
    return ImageFolder(path=folder, size=8)


def captions(data: ImageFolder) -> dict[int, str]:
    """Captions by the level of grey of their pictures."""
    return {int(data[i]["image"].max()): data[i]["caption"] for i in range(len(data))}


def test_captions_stand_beside_pictures_whose_name_a_mac_has_written(tmp_path: Path) -> None:
    for level in range(3):
        paint(tmp_path / f"{DECOMPOSED}{level}.png", level)
        (tmp_path / f"{COMPOSED}{level}.txt").write_text(f"level {level}")
    assert captions(opened(tmp_path)) == {0: "level 0", 1: "level 1", 2: "level 2"}


def test_metadata_name_pictures_and_maps_that_a_mac_has_written(tmp_path: Path) -> None:
    lines = []
    for level in range(3):
        paint(tmp_path / f"{DECOMPOSED}/{DECOMPOSED}{level}.png", level)
        place = tmp_path / f"maps {DECOMPOSED}" / f"{DECOMPOSED}{level}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 10 + level, np.uint8)).save(place)
        name = f"{COMPOSED}{level}.png"
        line = {"file_name": f"{COMPOSED}/{name}", "caption": f"{level}", "map": f"maps {COMPOSED}/{name}"}
        lines.append(json.dumps(line))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    data = opened(tmp_path).aligned({"map": "map"})
    assert captions(data) == {0: "0", 1: "1", 2: "2"}
    assert all(int(data[i]["map"].max()) == 10 + int(data[i]["image"].max()) for i in range(3))
    assert not data.notes


def test_of_two_caption_files_the_txt_file_is_read_and_the_other_told(
    tmp_path: Path,
) -> None:
    for level in range(9):
        paint(tmp_path / f"{level}.png", level)
        for suffix in (".caption", ".txt"):
            (tmp_path / f"{level}{suffix}").write_text(suffix)
    data = opened(tmp_path)
    assert set(captions(data).values()) == {".txt"}
    assert any("9, such as 0.caption" in note for note in data.notes)


def test_metadata_below_metadata_that_are_not_read_are_told(tmp_path: Path) -> None:
    for folder, text in (("", "above"), ("sub/", "below")):
        paint(tmp_path / "sub/0.png", 0)
        paint(tmp_path / "sub/1.png", 1)
        names = [f"{'' if folder else 'sub/'}{i}.png" for i in range(2)]
        lines = [json.dumps({"file_name": name, "caption": text}) for name in names]
        (tmp_path / folder / "metadata.jsonl").write_text("\n".join(lines))
    data = opened(tmp_path)
    assert captions(data) == {0: "above", 1: "above"}
    assert data.notes == [
        "files metadata.jsonl not read, for the folder has its own: 1, such as sub/metadata.jsonl"
    ]


def test_empty_texts_are_counted_in_each_field(tmp_path: Path) -> None:
    lines = []
    for i in range(6):
        paint(tmp_path / f"{i}.png", i)
        lines.append(
            json.dumps({"file_name": f"{i}.png", "text": "a" if i % 2 else " ", "title": "b" * (i == 5)})
        )
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert opened(tmp_path).notes == [
        "pictures with an empty text: 3, such as 0.png",
        "pictures with an empty title: 5, such as 0.png",
    ]


def test_a_caption_file_that_two_pictures_share_is_told(tmp_path: Path) -> None:
    for level, name in enumerate(("a.png", "a.PNG.png", "b.webp", "b.png", "c.png")):
        paint(tmp_path / name, level)
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "a.PNG.txt").write_text("another")
    data = opened(tmp_path)
    assert captions(data) == {0: "a", 1: "another", 2: "b", 3: "b", 4: "c"}
    assert data.notes == ["caption files that several pictures of one name share: 1, such as b.txt"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp949"])
def test_captions_in_another_encoding_are_refused_with_the_way_out(tmp_path: Path, encoding: str) -> None:
    for level in range(3):
        paint(tmp_path / f"{level}.png", level)
        text = "고양이" if encoding == "cp949" else "a cat"
        (tmp_path / f"{level}.txt").write_text(text, encoding=encoding)
    with pytest.raises(UserError, match=r"0\.txt is unreadable .*UTF-8"):
        opened(tmp_path).reading(["caption"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"file_name": "0.png", "caption": "a", "caption": "b"}', "'caption' is there twice"),
        ('{"file_name": "0.png", "caption": "a\\u0000"}', "null character"),
        ('[{"file_name": "0.png"},', "one object a line"),
        ('{"file_name": "0.png", "score": NaN}', "NaN is no number of JSON"),
        ('{"file_name": "0.png", "caption": null}', "'caption' is of type null"),
    ],
)
def test_metadata_that_would_be_misread_are_refused(tmp_path: Path, line: str, reason: str) -> None:
    paint(tmp_path / "0.png", 0)
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(ValueError, match=reason):
        opened(tmp_path)


@pytest.mark.parametrize("name", ["Metadata.jsonl", "train/metadata.csv", "train/0.json"])
def test_files_that_may_hold_captions_and_are_not_read_are_told(tmp_path: Path, name: str) -> None:
    for level in range(3):
        paint(tmp_path / f"train/{level}.png", level)
    (tmp_path / name).write_text("{}")
    assert any(
        f"not read, for fields come from metadata.jsonl: 1, such as {name}" in x
        for x in opened(tmp_path).notes
    )


@pytest.mark.parametrize("place", ["train/{}.png.txt", "{}.txt"])
def test_captions_that_stand_beside_no_picture_are_told_where_no_picture_has_one(
    tmp_path: Path, place: str
) -> None:
    for level in range(3):
        paint(tmp_path / f"train/{level}.png", level)
        (tmp_path / place.format(level)).write_text("a fox")
    expected = f"caption files without a picture beside them: 3, such as {place.format(0)}"
    assert expected in opened(tmp_path).notes


def test_empty_captions_of_metadata_are_counted(tmp_path: Path) -> None:
    for level in range(3):
        paint(tmp_path / f"{level}.png", level)
    lines = [json.dumps({"file_name": f"{i}.png", "caption": "a" if i else ""}) for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert "pictures with an empty caption: 1, such as 0.png" in opened(tmp_path).notes


def test_class_folders_in_which_no_picture_opens_are_named(tmp_path: Path) -> None:
    for name in ("cat/0.png", "cat/1.png", "dog/2.png", "fox/3.png"):
        paint(tmp_path / name, 5)
    (tmp_path / "bird" / "more").mkdir(parents=True)
    (tmp_path / "fox" / "3.png").write_bytes(b"no picture")
    data = ImageFolder(path=tmp_path, size=8, max_broken=0.5)
    assert data.notes == [
        "class folders without a picture that opens: 1 (bird)",
        "class folders without a picture that opens: 1 (fox)",
    ]
    assert data.classes == ("cat", "dog", "fox")  # a picture of fox may be mended; bird is no class
