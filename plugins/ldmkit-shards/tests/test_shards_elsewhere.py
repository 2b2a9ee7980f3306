"""Shards as other programs write them: decomposed names, JSON that is none, fields of some examples alone."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
import torch
from ldmkit_data.image_folder import ImageFolder
from ldmkit_shards.tar import WebDataset
from PIL import Image
from shard_files import COUNT, png

from ldmkit.errors import UserError


def write(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file of those members."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_a_second_picture_of_an_example_is_told(tmp_path: Path) -> None:
    kinds = [("png", "JPG")[: 1 + i % 2] for i in range(8)]
    members = {f"{i:03}.{kind}": png(i if kind == "png" else 99) for i in range(8) for kind in kinds[i]}
    data = WebDataset(path=write(tmp_path / "s.tar", members), size=16)
    single = write(tmp_path / "t.tar", {f"{i:03}.png": png(i) for i in range(8)})
    alone = WebDataset(path=single, size=16)
    assert all(torch.equal(data[i]["image"], alone[i]["image"]) for i in range(8))
    assert data.notes == [
        f"pictures left out, for their example has another one: 4, such as {tmp_path}/s.tar: 001.JPG"
    ]
    assert not alone.notes


def with_json(tmp_path: Path, *objects: bytes) -> WebDataset:
    """Pictures with captions; the first also have those .json members, the others one with a title."""
    members: dict[str, bytes] = {}
    for i in range(COUNT):
        members |= {f"{i:03}.png": png(i), f"{i:03}.txt": f"picture {i}".encode()}
        members[f"{i:03}.json"] = objects[i] if i < len(objects) else b'{"title": "one"}'
    return WebDataset(path=write(tmp_path / "s.tar", members), size=16)


def test_names_with_decomposed_letters_are_those_with_composed_ones(tmp_path: Path) -> None:
    """As a Mac packs them, pictures and texts alike or not; the split is that of a folder of these files."""
    forms, members = ("NFC", "NFD"), {}
    (tmp_path / "folder").mkdir()
    for i in range(COUNT):
        picture, text = normalize(forms[i % 2], f"é{i:03}.png"), normalize(forms[i // 2 % 2], f"é{i:03}.txt")
        members |= {text: f"picture {i}".encode(), picture: png(i)}
    for name, content in members.items():
        (tmp_path / "folder" / name).write_bytes(content)
    shards = WebDataset(path=write(tmp_path / "s.tar", members), size=16)
    assert len(shards) == COUNT
    for split in ("train", "validation"):
        tar, folder = (data.split(split) for data in (shards, ImageFolder(path=tmp_path / "folder", size=16)))
        captions = [[data[i]["caption"] for i in range(len(data))] for data in (tar, folder)]
        assert captions[0] == captions[1]


@pytest.mark.parametrize("read_at_once", [True, False])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"title": "one", "title": "two"}', "'title' is there twice"),
        (b'{"title": "\\ud800"}', "half of a character"),
        (b'{"title": "a\\u0000b"}', "null character"),
        ('{"title": "one"}'.encode("utf-16-le"), "null characters"),
        (b"[1, 2]", "cannot be read"),
        (b'{"title": ', "cannot be read"),
    ],
)
def test_json_that_cannot_be_read_counts_where_its_fields_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str, read_at_once: bool
) -> None:
    if not read_at_once:
        monkeypatch.setattr("ldmkit_shards.examples.DECODED", 0)
    data = with_json(tmp_path, content, content, content)
    captioned = data.reading(["caption"])
    assert (len(captioned), captioned[0]["caption"]) == (COUNT, "picture 0")
    assert not captioned.skipped
    with pytest.raises(UserError, match=rf"3 of 40 pictures .*s\.tar: 000: its \.json: .*{reason}"):
        data.reading(["title"])


@pytest.mark.parametrize("read_at_once", [True, False])
def test_a_field_that_the_first_example_lacks_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_at_once: bool
) -> None:
    if not read_at_once:
        monkeypatch.setattr("ldmkit_shards.examples.DECODED", 0)
    rare = json.dumps({"title": "one", "rare": 1}).encode()
    data = with_json(tmp_path, b'{"title": null}', rare)
    titled = data.reading(["title"])
    assert (len(titled), titled[0]["title"]) == (COUNT - 1, "one")
    assert "rare" not in titled.fields
    (note,) = titled.notes
    assert note.startswith("no rare, which 39 pictures lack: ")
    assert note.endswith("001: has no 'rare'") or note.endswith("002: has no 'rare'")
    with pytest.raises(UserError, match=r"39 of 40 pictures .*has no 'rare'"):
        data.reading(["rare"])


def test_maps_in_shards_are_refused_and_read_as_those_in_a_folder(tmp_path: Path) -> None:
    """Lossless WEBP and grey levels of any mode keep class ids, lossy WEBP does not."""
    ids = np.random.default_rng(0).integers(0, 5, (32, 32), dtype=np.uint8)
    for name, options, kept in (("whole", {"lossless": True}, True), ("near", {"quality": 90}, False)):
        file = io.BytesIO()
        Image.fromarray(ids).convert("RGB").save(file, "WEBP", **options)
        picture = io.BytesIO()
        Image.fromarray(ids).save(picture, "PNG")
        members = {
            f"{i}.{kind}": x.getvalue() for i in range(4) for kind, x in (("png", picture), ("s.webp", file))
        }
        data = WebDataset(path=write(tmp_path / f"{name}.tar", members), size=32).aligned({"s": "map"})
        if kept:
            assert data[0]["s"].tolist() == ids.tolist()
        else:
            with pytest.raises(UserError, match=r"near\.tar: 0: its \.s\.webp is a lossy WEBP file"):
                data[0]
