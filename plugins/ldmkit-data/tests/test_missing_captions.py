"""Pictures without a caption or a class count as broken only where these are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from ldmkit_data.image_folder import ImageFolder
from PIL import Image

from ldmkit.errors import UserError


def paint(path: Path, colour: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), colour).save(path)


def partly_captioned(root: Path, count: int, without: int) -> Path:
    """Pictures of which the last have no caption."""
    for i in range(count):
        paint(root / f"{i:02}.png", (i, 2 * i, 3 * i))
        if i < count - without:
            (root / f"{i:02}.txt").write_text(f"picture {i}")
    return root


def test_a_picture_without_a_caption_counts_where_captions_are_not_read(tmp_path: Path) -> None:
    root = partly_captioned(tmp_path, 20, 8)
    data = ImageFolder(path=root, size=8)
    everything = data.reading(())
    assert len(everything) == len(data) == 20
    assert everything.fields == ()
    assert not everything.skipped
    assert everything[19]["image"][0, 0, 0] == 19
    lacking = "no caption, which 8 pictures lack: "
    assert everything.notes == [f"{lacking}{root / '12.png'}: its caption 12.txt is missing"]
    with pytest.raises(
        UserError, match=r"8 of 20 pictures .*max_broken 0.05 allows: .*its caption 12.txt is"
    ):
        data.reading(("caption",))
    captioned = ImageFolder(path=root, size=8, max_broken=0.5).reading(("caption",))
    assert len(captioned) == 12
    assert captioned.fields == ("caption",)
    assert len(captioned.split("train")) + len(captioned.split("validation")) == 12


def test_what_reads_captions_has_the_same_data_as_without_the_others(tmp_path: Path) -> None:
    """The digest and the split are those of a folder in which the pictures without captions are not there."""
    mixed = ImageFolder(path=partly_captioned(tmp_path / "mixed", 40, 2), size=8)
    for name in ("38.png", "39.png"):
        assert mixed.problems[tmp_path / "mixed" / name].endswith("is missing")
    read = mixed.reading(["caption"])
    partly_captioned(tmp_path / "whole", 40, 2)
    for name in ("38.png", "39.png"):
        (tmp_path / "whole" / name).unlink()
    whole = ImageFolder(path=tmp_path / "whole", size=8)
    assert whole.reading(()) is whole
    assert mixed.digest == read.digest == whole.digest != mixed.reading(()).digest
    held = [data.split("validation") for data in (mixed, read, whole)]
    assert held[0].digest == held[1].digest == held[2].digest


def test_a_stray_picture_beside_class_folders_counts_where_no_class_is_read(tmp_path: Path) -> None:
    for i in range(30):
        paint(tmp_path / "ab"[i % 2] / f"{i}.png", (i, i, i))
    paint(tmp_path / "stray.png", (7, 7, 7))
    data = ImageFolder(path=tmp_path, size=8)
    assert (len(data), data.fields) == (30, ("label", "class_name"))
    assert len(data.reading(["label"])) == 30
    assert (len(data.reading([])), data.reading([]).fields) == (31, ())
