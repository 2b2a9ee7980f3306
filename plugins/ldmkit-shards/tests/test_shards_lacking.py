"""An example without a caption counts as broken only where captions are read."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from ldmkit_shards.hf import HfDataset
from ldmkit_shards.tar import WebDataset
from shard_files import COUNT, spoil, write_shards, write_table

from ldmkit.errors import UserError
from ldmkit.pictures import PictureData

Make = Callable[..., PictureData]


@pytest.fixture(params=["webdataset", "hf-dataset"])
def partly(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the data set of 40 pictures of which the last 8 have no captions."""
    if request.param == "webdataset":
        shards = write_shards(tmp_path / "tar", captioned=32)
        return lambda **options: WebDataset(path=shards, size=16, **options)
    table = write_table(tmp_path / "table", captioned=32)
    return lambda **options: HfDataset(path=table, key="file_name", size=16, **options)


@pytest.mark.parametrize("read_at_once", [True, False])
def test_a_picture_without_a_caption_counts_where_captions_are_not_read(
    partly: Make, monkeypatch: pytest.MonkeyPatch, read_at_once: bool
) -> None:
    if not read_at_once:  # as of a set that is too large for it
        monkeypatch.setattr("ldmkit_shards.examples.DECODED", 0)
    data = partly()
    everything = data.reading(())
    assert len(everything) == COUNT
    assert "caption" not in everything.fields
    assert not everything.skipped
    assert everything[COUNT - 1]["image"].shape == (3, 16, 16)
    (note,) = everything.notes
    assert note.startswith("no caption, which 8 pictures lack: ")
    with pytest.raises(UserError, match=r"8 of 40 pictures in .*max_broken 0.05 allows: .*has no 'caption'"):
        data.reading(["caption"])
    captioned = partly(max_broken=0.5).reading(["caption"])
    assert [captioned[i]["caption"] for i in (0, 31)] == ["picture 0", "picture 31"]
    assert len(captioned) == 32
    assert len(captioned.skipped) == 8


def test_a_field_that_others_lack_is_not_there_and_leaves_the_captions(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tar", map_png=b"no picture")
    data = WebDataset(path=shards, size=16)
    captioned = data.reading(["caption"])
    assert (len(captioned), captioned.fields) == (COUNT, ("caption",))
    with pytest.raises(UserError, match=r"40 of 40 pictures .*its \.map\.png"):
        data.reading(["map"])


def test_what_reads_captions_has_the_data_of_a_set_without_the_others(tmp_path: Path) -> None:
    """The examples and the split are those of shards that hold the captioned pictures alone."""
    mixed = WebDataset(path=write_shards(tmp_path / "mixed", captioned=38), size=16).reading(["caption"])
    write_shards(tmp_path / "whole")
    for key in ("038", "039"):
        _drop(tmp_path / f"whole/s-{int(key) % 2}.tar", key)
    whole = WebDataset(path=tmp_path / "whole/s-{0..1}.tar", size=16)
    for split in ("train", "validation"):
        parts = [data.split(split) for data in (mixed, whole)]
        captions = [[part[i]["caption"] for i in range(len(part))] for part in parts]
        assert captions[0] == captions[1]


def test_an_unreadable_caption_is_a_missing_one(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tar", title_txt=b"\xff\xfe\x00")
    assert len(WebDataset(path=shards, size=16).reading(["caption"])) == COUNT
    spoil(tmp_path / "tar/s-1.tar", "005.png")
    data = WebDataset(path=shards, size=16).reading([])
    assert (len(data), data.fields) == (COUNT - 1, ("caption",))


def _drop(path: Path, key: str) -> None:
    """Removes the members of an example from a tar file."""
    with tarfile.open(path) as tar:
        kept: list[tuple[Any, bytes]] = [
            (m, tar.extractfile(m).read()) for m in tar.getmembers() if not m.name.startswith(key)
        ]
    with tarfile.open(path, "w") as tar:
        for member, content in kept:
            tar.addfile(member, BytesIO(content))
