"""Picture folders as people have them: captions, classes, broken files, hostile files."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ldmkit_data.image_folder import ImageFolder
from PIL import Image

from ldmkit.errors import UserError


def paint(path: Path, colour: tuple[int, ...] = (200, 30, 30), size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def examples(data: ImageFolder) -> list[Mapping[str, Any]]:
    return [data[i] for i in range(len(data))]


def describe(folder: Path, *lines: Mapping[str, Any]) -> None:
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def bomb(path: Path, side: int = 20_000) -> None:
    """A valid black PNG of side x side pixels in about 50 KB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side // 8 + 1) * side), 6)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 pictures of which 7 are broken, in seven ways."""
    folder = tmp_path_factory.mktemp("thousand")
    for i in range(1000):
        paint(folder / f"{i:04}.png", (i % 256, i // 4, 99), (9, 8))
    whole = (folder / "0000.png").read_bytes()
    (folder / "0100.png").write_text("this is a text file\n" * 20)
    bomb(folder / "0200.png")
    (folder / "0300.png").write_bytes(b"")
    (folder / "0400.png").write_bytes(whole[: len(whole) // 2])
    (folder / "0500.png").write_bytes(whole[:45] + bytes(9) + whole[54:])
    Image.new("RGB", (9, 8)).save(folder / "0600.png", format="GIF")
    (folder / "0700.png").unlink()
    (folder / "0700.png").mkdir()
    return folder


def test_seven_broken_of_a_thousand_are_left_out_and_listed(thousand: Path) -> None:
    data = ImageFolder(path=str(thousand), size=8)
    assert len(data) == 993
    assert [p.name for p in data.skipped] == [f"0{i}00.png" for i in range(1, 8)]
    assert all(str(path) in reason for path, reason in data.problems.items())
    assert all(data[i]["image"].shape == (3, 8, 8) for i in range(len(data)))


def test_too_many_broken_are_an_error_that_names_the_first(thousand: Path) -> None:
    with pytest.raises(UserError, match=r"7 of 1000 .*max_broken 0.005.*0100\.png.*0500\.png.*\.\.\."):
        ImageFolder(path=str(thousand), size=8, max_broken=0.005)


def test_splits_share_nothing_and_stay_when_pictures_join(tmp_path: Path) -> None:
    for i in range(300):
        paint(tmp_path / f"{i}.png")
    before = ImageFolder(path=str(tmp_path), size=8)
    held = names(before.split("validation"))
    assert 5 <= len(held) <= 30
    assert held | names(before.split("train")) == names(before)
    assert not held & names(before.split("train"))
    paint(tmp_path / "new.png")
    assert names(ImageFolder(path=str(tmp_path), size=8).split("validation")) - {"new.png"} == held
    with pytest.raises(ValueError, match="train, validation"):
        before.split("test")


def names(data: ImageFolder) -> set[str]:
    return {Path(data.name(i)).name for i in range(len(data))}


@pytest.mark.parametrize("count", [2, 3, 10])
def test_a_small_folder_can_be_trained_on(tmp_path: Path, count: int) -> None:
    for i in range(count):
        paint(tmp_path / f"{i}.png")
    data = ImageFolder(path=str(tmp_path), size=8)
    assert len(data.split("validation")) >= 1
    assert len(data.split("train")) + len(data.split("validation")) == count


def test_metadata_gives_the_fields(tmp_path: Path) -> None:
    paint(tmp_path / "sub" / "b.png")
    paint(tmp_path / "a.jpg")
    paint(tmp_path / "unnamed.png")
    describe(
        tmp_path,
        {"file_name": "sub/b.png", "caption": "여우", "captions": ["여우", "a fox"], "score": 1},
        {"file_name": "a.jpg", "caption": "a dog", "captions": ["a dog"], "score": 0.5},
    )
    data = ImageFolder(path=str(tmp_path), size=8)
    assert set(data.fields) == {"caption", "captions", "score"}
    assert [e["caption"] for e in examples(data)] == ["a dog", "여우"]
    assert data[1]["captions"] == ("여우", "a fox")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"file_name": "../../secret.png", "caption": "x"}, "leads out of the folder"),
        ({"file_name": "/etc/secret.png", "caption": "x"}, "leads out of the folder"),
        ({"file_name": "sub/../../secret.png", "caption": "x"}, "leads out of the folder"),
        ({"file_name": "..\\secret.png", "caption": "x"}, "leads out of the folder"),
        ({"file_name": "C:/secret.png", "caption": "x"}, "leads out of the folder"),
        ({"file_name": "b.png"}, r"has fields \[\], the first line has \['caption'\]"),
        ({"file_name": "b.png", "caption": None}, "'caption' is of type null"),
        ({"file_name": "b.png", "caption": 7}, "'caption' is of type number"),
        ({"file_name": "a.png", "caption": "again"}, "twice"),
        ({"caption": "no file"}, 'metadata.jsonl:2: expects an object with "file_name"'),
        ({"file_name": "b.png", "image": 1}, "cannot be named 'image'"),
    ],
)
def test_unusable_metadata_is_refused_with_its_place(
    tmp_path: Path, second: Mapping[str, Any], said: str
) -> None:
    root = tmp_path / "data" / "set"
    paint(root / "a.png")
    paint(root / "b.png")
    paint(tmp_path / "secret.png")
    describe(root, {"file_name": "a.png", "caption": "a"}, second)
    with pytest.raises(ValueError, match=said):
        ImageFolder(path=str(root), size=8)


def test_metadata_that_is_no_json_or_names_absent_files(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n{"file_name": b}')
    with pytest.raises(ValueError, match=r"metadata\.jsonl:2: not JSON"):
        ImageFolder(path=str(tmp_path), size=8)
    paint(tmp_path / "b.png")
    describe(tmp_path, *({"file_name": f"{n}.png"} for n in "abc"))
    data = ImageFolder(path=str(tmp_path), size=8, max_broken=0.5)
    assert [p.name for p in data.skipped] == ["c.png"]
    assert "no such file" in data.problems[tmp_path / "c.png"]


def test_captions_beside_pictures(tmp_path: Path) -> None:
    for name in "abcd":
        paint(tmp_path / f"{name}.webp")
    (tmp_path / "a.txt").write_text("\ufeffa red\n square \n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("빨간 사각형", encoding="utf-8")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    data = ImageFolder(path=str(tmp_path), size=8, max_broken=0.5)
    assert data.fields == ("caption",)
    assert [e["caption"] for e in examples(data)] == ["a red square", "빨간 사각형"]
    assert [p.name for p in data.skipped] == ["c.webp", "d.webp"]
    assert "d.txt is missing" in data.problems[tmp_path / "d.webp"]


def test_class_folders(tmp_path: Path) -> None:
    paint(tmp_path / "dog" / "1.png")
    paint(tmp_path / "cat" / "deep" / "2.png")
    paint(tmp_path / ".cache" / "hidden.png")
    data = ImageFolder(path=str(tmp_path), size=8)
    assert data.classes == ("cat", "dog")
    assert [(e["label"], e["class_name"]) for e in examples(data)] == [(0, "cat"), (1, "dog")]


def test_plain_pictures_are_resized_by_the_shorter_side_and_cropped_in_the_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (120, 40), "blue")
    wide.paste("red", (40, 0, 80, 40))
    wide.save(tmp_path / "a.png")
    paint(tmp_path / "b.PNG", size=(4, 4))
    data = ImageFolder(path=str(tmp_path), size=16)
    assert data.fields == ()
    red = torch.tensor([255.0, 0.0, 0.0])[:, None, None].expand(3, 16, 12)
    torch.testing.assert_close(data[0]["image"][:, :, 2:-2].float(), red, atol=2, rtol=0)
    assert data[1]["image"].shape == (3, 16, 16)


def test_the_digest_follows_what_examples_hold(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    paint(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("broken")
    made = ImageFolder(path=str(tmp_path), size=8, max_broken=0.5)
    again = ImageFolder(path=str(tmp_path), size=8, max_broken=1)
    assert made.digest == again.digest
    larger = ImageFolder(path=str(tmp_path), size=9, max_broken=1)
    digests = {made.digest, made.split("train").digest, larger.digest}
    paint(tmp_path / "b.png", (200, 30, 31))
    digests.add(ImageFolder(path=str(tmp_path), size=8, max_broken=1).digest)
    describe(tmp_path, *({"file_name": f"{n}.png", "caption": n} for n in "ab"))
    digests.add(ImageFolder(path=str(tmp_path), size=8).digest)
    assert len(digests) == 5


def test_relative_paths_start_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "mine" / "a.png")
    paint(tmp_path / "mine" / "b.png")
    monkeypatch.chdir(tmp_path)
    assert len(ImageFolder(path="mine", size=8)) == 2


def test_what_cannot_be_a_data_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*absent"):
        ImageFolder(path=str(tmp_path / "absent"), size=8)
    with pytest.raises(ValueError, match=r"no \.png"):
        ImageFolder(path=str(tmp_path), size=8)
    paint(tmp_path / "a.png")
    with pytest.raises(UserError, match="two are needed"):
        ImageFolder(path=str(tmp_path), size=8)
    with pytest.raises(ValueError, match="unknown colour 'whit'"):
        ImageFolder(path=str(tmp_path), size=8, background="whit")


@pytest.mark.parametrize(
    ("files", "note"),
    [
        ({"metadata.jsonl": '{"file_name": "0.png", "caption": "a"}\n{"file_name": "1.png", "caption": "b"}'},
         "pictures left out that metadata.jsonl does not name: 1, such as 2.png"),
        ({"metadata.jsonl": "\n".join(f'{{"file_name": "{i}.png"}}' for i in range(3)), "0.txt": "a"},
         "caption files not read, for metadata.jsonl says what each picture has: 1, such as 0.txt"),
        ({"0.txt": "a", "1.txt": "b", "2.txt": "c", "9.txt": "d"},
         "caption files without a picture beside them: 1, such as 9.txt"),
        ({"0.txt": "a", "1.txt": " ", "2.txt": "c"}, "pictures with an empty caption: 1, such as 1.png"),
        ({"0.txt": "a", "1.txt": "b", "2.txt": "c"}, None),
    ],
)  # fmt: skip
def test_what_lies_in_the_folder_and_plays_no_part_is_said(files, note, tmp_path):
    for i in range(3):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i}.png")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    data = ImageFolder(path=tmp_path, size=16)
    assert list(data.notes) == ([] if note is None else [note])


def test_masks_that_metadata_names_are_no_pictures_left_out(tmp_path):
    lines = []
    for i in range(3):
        Image.new("RGB", (16, 16), (i, 0, 0)).save(tmp_path / f"{i}.png")
        Image.new("L", (16, 16), i).save(tmp_path / f"{i}-mask.png")
        lines.append(json.dumps({"file_name": f"{i}.png", "mask": f"{i}-mask.png"}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert list(ImageFolder(path=tmp_path, size=16).notes) == []


def test_a_picture_of_the_same_size_and_time_is_read_anew(tmp_path: Path) -> None:
    for i, grey in enumerate((10, 90, 170)):
        Image.new("L", (8, 8), grey).save(tmp_path / f"{i}.png")
    before = ImageFolder(path=tmp_path, size=8).digest
    path, status = tmp_path / "1.png", (tmp_path / "1.png").stat()
    Image.new("L", (8, 8), 91).save(path)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ImageFolder(path=tmp_path, size=8).digest != before
