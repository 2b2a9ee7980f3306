"""What is broken, missing, linked or changed in shards and tables is left out and listed, or refused."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from ldmkit_shards.hf import HfDataset
from ldmkit_shards.tar import WebDataset
from shard_files import COUNT, png, spoil, write_shards, write_table
from small_recipes import PIXELS

from ldmkit.cli import main
from ldmkit.errors import UserError


def test_a_corrupt_member_is_left_out_and_listed_and_its_neighbours_stay(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tar")
    whole = WebDataset(path=shards, size=16)
    spoil(tmp_path / "tar/s-1.tar", "005.png")
    for _ in range(2):  # found, then remembered
        data = WebDataset(path=shards, size=16)
        assert len(data) == COUNT - 1
        assert [path.name for path in data.skipped] == ["s-1.tar: 005"]
        assert data.digest != whole.digest
        assert [data[i]["caption"] for i in (4, 5)] == ["picture 4", "picture 6"]
    with pytest.raises(UserError, match=r"1 of 40 pictures.*max_broken 0 allows.*s-1.tar: 005: its \.png"):
        WebDataset(path=shards, size=16, max_broken=0)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_member_that_is_a_link_is_left_out_and_listed(tmp_path: Path, kind: bytes) -> None:
    shards = write_shards(tmp_path / "tar")
    (tmp_path / "secret.txt").write_text("secret")
    for key, suffix, target in (("900", "png", "005.png"), ("901", "txt", str(tmp_path / "secret.txt"))):
        with tarfile.open(tmp_path / "tar/s-1.tar", "a") as tar:
            if suffix == "txt":
                picture = tarfile.TarInfo(f"{key}.png")
                picture.size = len(png(1))
                tar.addfile(picture, io.BytesIO(png(1)))
            link = tarfile.TarInfo(f"{key}.{suffix}")
            link.type, link.linkname = kind, target
            tar.addfile(link)
    data = WebDataset(path=shards, size=16)
    assert len(data) == COUNT
    said = sorted(data.problems.values())
    assert [text.rpartition("s-1.tar: ")[2] for text in said] == [
        "900: its .png: a link, which is not followed: pack the file itself",
        "901: its .txt: a link, which is not followed: pack the file itself",
    ]


def test_in_a_large_set_the_next_whole_example_stands_in(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ldmkit_shards.examples.DECODED", 0)
    shards = write_shards(tmp_path / "tar")
    spoil(tmp_path / "tar/s-1.tar", "005.png")
    data = WebDataset(path=shards, size=16)
    assert len(data) == COUNT
    assert data[5]["caption"] == "picture 6"
    assert len(data.skipped) == 1


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tar", 3)
    (tmp_path / "tar/s-1.tar").unlink()
    with pytest.raises(ValueError, match=r"1 of the 3 shards of .* missing: .*s-1\.tar"):
        WebDataset(path=shards, size=16)


def test_a_shard_that_changes_under_way_is_refused(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tar")
    data = WebDataset(path=shards, size=16)
    os.utime(tmp_path / "tar/s-0.tar", ns=(0, 0))
    with pytest.raises(UserError, match=r"s-0\.tar: changed since"):
        data[0]
    assert data[1]["caption"] == "picture 1"
    assert WebDataset(path=shards, size=16).digest == data.digest


@pytest.mark.parametrize("cut", [300, 5000])
def test_a_shard_that_is_cut_off_or_compressed_is_refused(tmp_path: Path, cut: int) -> None:
    shards = write_shards(tmp_path / "tar")
    file = tmp_path / "tar/s-0.tar"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"s-0\.tar: (cut off|not a whole)"):
        WebDataset(path=shards, size=16)
    file.write_bytes(b"\x1f\x8b\x08" + b"\0" * 2000)
    with pytest.raises(UserError, match=r"not a whole, uncompressed tar"):
        WebDataset(path=shards, size=16)


def test_a_damaged_header_in_the_middle_does_not_end_the_shard_in_silence(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "tar")
    with tarfile.open(tmp_path / "tar/s-0.tar") as tar:
        header = tar.getmembers()[10].offset
    with (tmp_path / "tar/s-0.tar").open("r+b") as file:
        file.seek(header)
        file.write(b"x" * 100)
    with pytest.raises(UserError, match=r"s-0\.tar: cut off or damaged after"):
        WebDataset(path=shards, size=16)


def test_a_broken_row_is_left_out_and_a_hub_set_needs_a_pinned_revision(tmp_path: Path) -> None:
    table = HfDataset(path=write_table(tmp_path / "table", empty=8), key="file_name", size=16)
    assert len(table) == COUNT - 1
    assert "(008.png)" in str(table.skipped[0])
    with pytest.raises(ValueError, match="no column 'name'"):
        HfDataset(path=tmp_path / "table", key="name", size=16)
    with pytest.raises(ValueError, match="repo with revision"):
        HfDataset(repo="owner/name", size=16)
    (tmp_path / "table/part-1.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"cannot be read"):
        HfDataset(path=tmp_path / "table", size=16)


def test_a_shard_or_table_that_changed_since_a_training_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path / "tar", 3)
    write_table(tmp_path / "table")
    sources = {
        "tar": {"name": "webdataset", "path": "tar/s-{0..2}.tar"},
        "table": {"name": "hf-dataset", "path": "table", "key": "file_name"},
    }
    for name, data in sources.items():
        recipe = {
            **PIXELS,
            "name": name,
            "data": {"name": "with-low-res", "factor": 2, "of": {**data, "size": 8}},
            "train": {"diffusion": {"steps": 1, "batch": 4, "lr": 1e-3}},
        }
        Path(f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        assert CliRunner().invoke(main, ["train", f"{name}.yaml"]).exit_code == 0
    write_shards(tmp_path / "others", 3, json=b'{"extra": 1}')
    shutil.copy("others/s-1.tar", "tar/s-1.tar")
    shutil.rmtree("table")
    write_table(tmp_path / "table", empty=3)
    for name, changed in (("tar", "s-1.tar"), ("table", "part-0.parquet")):
        said = CliRunner().invoke(main, ["train", f"{name}.yaml"]).output
        assert f"its data have changed since it was trained (1 changed ({changed}))" in said
