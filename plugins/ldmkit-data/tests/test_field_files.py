"""Maps, masks and other files that belong to pictures of a folder: found, cut alike, contained."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ldmkit_data.image_folder import ImageFolder
from ldmkit_data.union import Union
from PIL import Image

from ldmkit.errors import UserError

SIZE = 8


def describe(folder: Path, *lines: dict[str, Any]) -> None:
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def halves(path: Path, width: int, height: int, left: int, right: int, mode: str = "L") -> None:
    """A picture with two values side by side."""
    values = np.full((height, width), left, np.int32 if mode == "I;16" else np.uint8)
    values[:, width // 2 :] = right
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values).save(path)


def folder_of(root: Path, count: int = 4, size: tuple[int, int] = (32, 16), **fields: str) -> Path:
    """`count` pictures, black left and white right; fields name files with {i} for the number."""
    for i in range(count):
        halves(root / f"{i}.png", *size, 0, 255)
    lines = [
        {"file_name": f"{i}.png", **{f: text.format(i=i) for f, text in fields.items()}} for i in range(count)
    ]
    describe(root, *lines)
    return root


def test_maps_masks_and_pictures_are_cut_as_the_picture_is(tmp_path: Path) -> None:
    folder_of(tmp_path, map="m/{i}.png", mask="h/{i}.png", low="l/{i}.png")
    for i in range(4):
        halves(tmp_path / f"m/{i}.png", 64, 32, 3, 700, "I;16")
        halves(tmp_path / f"h/{i}.png", 32, 16, 0, 255)
        halves(tmp_path / f"l/{i}.png", 8, 4, 0, 255)
    data = ImageFolder(path=str(tmp_path), size=SIZE)
    example = data.aligned({"map": "map", "mask": "mask", "low": "picture"})[0]
    right = torch.arange(SIZE).expand(SIZE, SIZE) >= SIZE // 2
    assert torch.equal(example["map"], torch.where(right, 700, 3).to(torch.int32))
    assert torch.equal(example["mask"] > 127, right)
    assert example["low"].shape == (3, 2, 2)
    assert example["low"][:, :, 0].max() < 60 < 200 < example["low"][:, :, 1].min()
    assert data[0]["map"] == str(tmp_path / "m/0.png")  # unread where nothing says what it is


def test_boxes_lie_within_what_is_cut_out(tmp_path: Path) -> None:
    folder_of(tmp_path)
    describe(
        tmp_path,
        *(
            {"file_name": f"{i}.png", "layout": [[7, 0.5, 0.25, 0.5, 0.5], [8, 0.0, 0.0, 0.2, 1.0]]}
            for i in range(4)
        ),
    )
    layout = ImageFolder(path=str(tmp_path), size=SIZE).aligned({"layout": "boxes"})[0]["layout"]
    # of 32 x 16 the columns 8 to 24 are left: the first box starts in their middle, the second lies outside
    assert layout == ((7, 0.5, 0.25, 0.5, 0.5),)


def test_a_picture_with_boxes_in_pixels_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder_of(tmp_path)
    rows = [{"file_name": f"{i}.png", "layout": [[7, 0.5, 0.25, 0.5, 0.5]]} for i in range(4)]
    describe(tmp_path, *rows[:2], {**rows[2], "layout": [[7, 8, 4, 8, 8]]}, rows[3])
    data = ImageFolder(path=str(tmp_path), size=SIZE, max_broken=0.5).aligned({"layout": "boxes"})
    assert data[2]["layout"] == data[3]["layout"] == ((7, 0.5, 0.25, 0.5, 0.5),)  # the next one stands in
    (problem,) = data.problems.values()
    assert problem == (
        f"{tmp_path / '2.png'}: its layout: box (8, 4, 8, 8): expects x, y, width, height as shares of the "
        "picture, 0 to 1"
    )


def test_a_name_with_a_line_break_is_told_on_one_line(tmp_path: Path) -> None:
    folder_of(tmp_path)
    describe(tmp_path, *({"file_name": f"{i}.png" + "\n" * (i == 2)} for i in range(4)))
    with pytest.raises(UserError, match=r"2\.png\\n: no such file") as caught:
        ImageFolder(path=str(tmp_path), size=SIZE)
    assert "\n" not in str(caught.value)


def test_a_map_of_another_shape_is_left_out_with_its_reason(tmp_path: Path) -> None:
    folder_of(tmp_path, map="m/{i}.png")
    for i in range(4):
        halves(tmp_path / f"m/{i}.png", 20 if i == 1 else 32, 16, 1, 2)
    data = ImageFolder(path=str(tmp_path), size=SIZE, max_broken=0.5).aligned({"map": "map"})
    assert torch.equal(data[1]["image"], data[2]["image"])  # the next one stands in
    assert "it is 20x16, which does not fit the picture's 32x16" in data.problems[tmp_path / "1.png"]


@pytest.mark.parametrize("value", ["{i}-absent.png", "../outside.png", "link.png"])
def test_files_that_are_missing_or_outside_are_left_out(tmp_path: Path, value: str) -> None:
    root = folder_of(tmp_path / "set", mask=value)
    halves(tmp_path / "outside.png", 32, 16, 0, 255)
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(UserError, match=r"4 of 4 pictures .* its mask: .*(no such file|out of the folder)"):
        ImageFolder(path=str(root), size=SIZE).aligned({"mask": "mask"})


def test_the_digest_follows_the_files_of_fields_that_are_read(tmp_path: Path) -> None:
    folder_of(tmp_path, mask="h/{i}.png")
    for i in range(4):
        halves(tmp_path / f"h/{i}.png", 32, 16, 0, 255)

    def digest() -> str:
        return ImageFolder(path=str(tmp_path), size=SIZE).aligned({"mask": "mask"}).digest

    before = digest()
    for path in tmp_path.rglob("*.png"):
        os.utime(path, (1, 1))  # another time, the same content
    assert digest() == before
    halves(tmp_path / "h/2.png", 32, 16, 255, 0)
    assert digest() != before


def test_links_out_of_the_folder_pipes_and_odd_names_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for i in range(20):
        halves(root / f"{i}.png", 8, 8, 0, 255)
    halves(tmp_path / "secret.png", 8, 8, 0, 255)
    halves(tmp_path / "other/a.png", 8, 8, 0, 255)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "inner.png").symlink_to(root / "0.png")
    (root / "folder").symlink_to(tmp_path / "other")
    os.mkfifo(root / "pipe.png")
    odd = os.fsencode(root) + b"/caf\xe9.png"
    (root / "0.png").rename(os.fsdecode(odd))
    (root / "inner.png").unlink()
    (root / "inner.png").symlink_to(root / "1.png")
    data = ImageFolder(path=str(root), size=SIZE, max_broken=0.3)
    assert sorted(path.name for path in data.skipped) == ["folder", "link.png", "pipe.png"]
    assert len(data) == 21
    assert len(data.split("validation")) >= 1
    assert data.digest


def test_captions_of_other_suffixes_are_read(tmp_path: Path) -> None:
    for name in "abc":
        halves(tmp_path / f"{name}.png", 8, 8, 0, 255)
    (tmp_path / "a.TXT").write_text("one")
    (tmp_path / "b.caption").write_text("two")
    (tmp_path / "c.txt").write_text("a\u2028b\u0085c")
    data = ImageFolder(path=str(tmp_path), size=SIZE)
    assert [data[i]["caption"] for i in range(3)] == ["one", "two", "a b c"]


def test_one_stray_picture_leaves_the_classes(tmp_path: Path) -> None:
    for i in range(30):
        halves(tmp_path / f"{'ab'[i % 2]}/{i}.png", 8, 8, 0, 255)
    halves(tmp_path / "stray.png", 8, 8, 0, 255)
    data = ImageFolder(path=str(tmp_path), size=SIZE)
    assert data.classes == ("a", "b")
    assert len(data) == 30
    assert "lies in none of the class folders" in data.problems[tmp_path / "stray.png"]


def test_lines_of_metadata_end_at_line_feeds_alone(tmp_path: Path) -> None:
    for name in "ab":
        halves(tmp_path / f"{name}.png", 8, 8, 0, 255)
    lines = [{"file_name": f"{n}.png", "caption": "x\u2028y\u0085z"} for n in "ab"]
    text = "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "metadata.jsonl").write_text("\ufeff" + text, encoding="utf-8")
    data = ImageFolder(path=str(tmp_path), size=SIZE)
    assert data[1]["caption"] == "x\u2028y\u0085z"


def test_metadata_of_sub_folders_is_read_from_where_it_lies(tmp_path: Path) -> None:
    for part in ("train", "test"):
        folder_of(tmp_path / part, mask="h/{i}.png")
        for i in range(4):
            halves(tmp_path / part / f"h/{i}.png", 32, 16, 0, 255)
    data = ImageFolder(path=str(tmp_path), size=SIZE).aligned({"mask": "mask"})
    assert len(data) == 8
    assert data[0]["mask"].shape == (SIZE, SIZE)


def test_half_characters_and_metadata_in_other_forms_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        halves(tmp_path / f"{name}.png", 8, 8, 0, 255)
    (tmp_path / "metadata.csv").write_text("file_name,caption\na.png,x\n")
    with pytest.raises(ValueError, match=r"metadata\.csv is not read; fields come from metadata\.jsonl"):
        ImageFolder(path=str(tmp_path), size=SIZE)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "caption": "\\ud800"}')
    with pytest.raises(ValueError, match=r"metadata\.jsonl:1: holds half of a character"):
        ImageFolder(path=str(tmp_path), size=SIZE)


def test_a_second_start_opens_no_picture_that_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        halves(tmp_path / f"{i}.png", 8, 8, 0, 40 * i)
    (tmp_path / "6.png").write_text("broken")
    first = ImageFolder(path=str(tmp_path), size=SIZE, max_broken=0.5)
    opened: list[Path] = []
    monkeypatch.setattr(
        "ldmkit_data.index.upright_size", lambda file, name: opened.append(Path(name)) or (8, 8)
    )
    again = ImageFolder(path=str(tmp_path), size=SIZE, max_broken=0.5)
    assert (again.digest, again.problems, opened) == (first.digest, first.problems, [])
    halves(tmp_path / "3.png", 8, 8, 7, 7)
    assert ImageFolder(path=str(tmp_path), size=SIZE, max_broken=0.5).digest != first.digest
    assert opened == [tmp_path / "3.png"]


def test_of_a_large_folder_damage_that_shows_late_is_replaced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldmkit_data.image_folder.DECODED", 10)
    for i in range(20):
        Image.effect_noise((64, 64), 50 + i).save(tmp_path / f"{i:02}.png")
    whole = (tmp_path / "05.png").read_bytes()
    (tmp_path / "05.png").write_bytes(whole[: len(whole) // 2])
    data = ImageFolder(path=str(tmp_path), size=SIZE)
    assert len(data) == 20
    assert data.skipped == ()
    assert torch.equal(data[5]["image"], data[6]["image"])
    assert [path.name for path in data.skipped] == ["05.png"]
    (tmp_path / "06.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="2 of 20 pictures"):
        data[6]


def test_a_union_cuts_the_fields_of_its_parts(tmp_path: Path) -> None:
    for part in "ab":
        folder_of(tmp_path / part, mask="h/{i}.png")
        for i in range(4):
            halves(tmp_path / part / f"h/{i}.png", 32, 16, 0, 255)
    parts = tuple(ImageFolder(path=str(tmp_path / part), size=SIZE) for part in "ab")
    data = Union(parts=parts).aligned({"mask": "mask"}).split("train")
    assert [data[i]["mask"].shape for i in range(len(data))] == [(SIZE, SIZE)] * len(data)


def captioned(root):
    root.mkdir()
    for i in range(30):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(root / f"{i:02}.png")
        (root / f"{i:02}.txt").write_text(f"word {i}")
    return root


def test_a_caption_that_is_a_pipe_or_leads_out_is_left_out_and_named(tmp_path):
    root = captioned(tmp_path / "in")
    (tmp_path / "secret").write_text("not yours")
    for name in ("03.txt", "04.txt"):
        (root / name).unlink()
    os.mkfifo(root / "03.txt")
    (root / "04.txt").symlink_to(tmp_path / "secret")
    data = ImageFolder(path=root, size=8, max_broken=0.1)
    assert [path.name for path in data.skipped] == ["03.png", "04.png"]
    said = " ".join(data.problems.values())
    assert "03.txt: not a file" in said
    assert "04.txt: a link that leads out of the folder" in said
    assert "not yours" not in [data[i]["caption"] for i in range(len(data))]


def test_metadata_that_are_a_pipe_or_lead_out_are_refused(tmp_path):
    root = captioned(tmp_path / "in")
    os.mkfifo(root / "metadata.jsonl")
    with pytest.raises(ValueError, match=r"metadata\.jsonl: not a file"):
        ImageFolder(path=root, size=8)
    (root / "metadata.jsonl").unlink()
    (tmp_path / "far.jsonl").write_text('{"file_name": "00.png", "caption": "far"}')
    (root / "metadata.jsonl").symlink_to(tmp_path / "far.jsonl")
    with pytest.raises(ValueError, match="leads out of the folder"):
        ImageFolder(path=root, size=8)
