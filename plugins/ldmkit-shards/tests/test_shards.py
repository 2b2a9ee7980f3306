"""Tar shards and tables give the examples of a folder of the same files; what is broken is told."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
import yaml
from click.testing import CliRunner
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from forks import Fork
from ldmkit_data.image_folder import ImageFolder
from ldmkit_shards.hf import HfDataset
from ldmkit_shards.tar import WebDataset
from PIL import Image as Pillow
from safetensors.torch import load_file
from small_recipes import PIXELS

from ldmkit.cli import main
from ldmkit.errors import UserError

COUNT = 40


def png(seed: int) -> bytes:
    """A noisy picture, wider than high."""
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 28, 3), dtype=np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_folder(root: Path) -> None:
    root.mkdir()
    for i in range(COUNT):
        (root / f"{i:03}.png").write_bytes(png(i))
        (root / f"{i:03}.txt").write_text(f"picture {i}")


def write_shards(root: Path, shards: int = 2, **more: bytes) -> Path:
    """Example i lies in shard i modulo `shards`. The pattern of all."""
    root.mkdir(exist_ok=True)
    for shard in range(shards):
        with webdataset.TarWriter(str(root / f"s-{shard}.tar")) as writer:
            for i in range(shard, COUNT, shards):
                fields = {suffix.replace("_", "."): content for suffix, content in more.items()}
                text = f"picture {i}".encode()
                writer.write({"__key__": f"{i:03}", "png": png(i), "txt": text, **fields})
    return root / f"s-{{0..{shards - 1}}}.tar"


def write_table(root: Path, empty: int | None = None) -> Path:
    root.mkdir()
    features = Features(
        {
            "file_name": Value("string"),
            "image": Image(),
            "caption": Value("string"),
            "kind": ClassLabel(names=["even", "odd"]),
            "numbers": List(Value("int32")),
        }
    )
    columns = {
        "file_name": [f"{i:03}.png" for i in range(COUNT)],
        "image": [{"bytes": b"no picture" if i == empty else png(i), "path": None} for i in range(COUNT)],
        "caption": [f"picture {i}" for i in range(COUNT)],
        "kind": [i % 2 for i in range(COUNT)],
        "numbers": [[i, i + 1] for i in range(COUNT)],
    }
    order = np.random.default_rng(0).permutation(COUNT)
    Dataset.from_dict(columns, features).select(order).to_parquet(root / "part-0.parquet")
    return root


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def spoil(path: Path, member: str) -> None:
    """Overwrites the middle of a member, and nothing else."""
    with tarfile.open(path) as tar:
        found = tar.getmember(member)
    with path.open("r+b") as file:
        file.seek(found.offset_data + found.size // 2)
        file.write(b"\0" * 64)


def test_the_same_pictures_in_folder_shards_and_table_are_the_same_examples(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder")
    folder = ImageFolder(path=tmp_path / "folder", size=16)
    tar = WebDataset(path=write_shards(tmp_path / "tar", 3), size=16)
    table = HfDataset(path=write_table(tmp_path / "table"), key="file_name", size=16)
    for name in ("train", "validation"):
        parts = [data.split(name) for data in (folder, tar, table)]
        assert len({len(part) for part in parts}) == 1
        for i in range(len(parts[0])):
            first, *others = (part[i] for part in parts)
            for other in others:
                assert torch.equal(first["image"], other["image"])
                assert first["caption"] == other["caption"]
    assert len(folder.split("train")) < COUNT


def test_a_training_from_folder_shards_and_table_ends_in_the_same_bits(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder")
    sources = {
        "folder": {"name": "image-folder", "path": "folder"},
        "tar": {"name": "webdataset", "path": str(write_shards(tmp_path / "tar").relative_to(tmp_path))},
        "table": {"name": "hf-dataset", "path": "table", "key": "file_name"},
    }
    write_table(tmp_path / "table")
    results = []
    for name, data in sources.items():
        recipe = {
            **PIXELS,
            "name": name,
            "data": {**data, "size": 8},
            "train": {"diffusion": {"steps": 2, "batch": 4, "lr": 1e-3}},
        }
        Path(f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        result = CliRunner().invoke(main, ["train", f"{name}.yaml", "--runs", "runs"])
        assert result.exit_code == 0, result.output
        (weights,) = Path("runs", name).glob("diffusion-*/diffusion.safetensors")
        folder = weights.parent
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        losses = [json.loads(line).get("loss") for line in lines]
        results.append((losses, load_file(weights)))
    (losses, weights), *others = results
    assert any(losses)
    for other_losses, other_weights in others:
        assert other_losses == losses
        assert all(torch.equal(weights[key], other_weights[key]) for key in weights)


def test_members_become_fields_by_their_suffix_and_nothing_is_unpickled(tmp_path: Path) -> None:
    array, pickled = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(3))
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    more = {
        "json": b'{"boxes": [[1, 0, 0, 1, 1]], "nothing": null}',
        "latent_npy": array.getvalue(),
        "map_png": png(1),
        "cls": b"7",
    }
    data = WebDataset(path=write_shards(tmp_path / "tar", **more), size=16)
    assert set(data.fields) == {"boxes", "caption", "label", "latent", "map"}
    example = data.aligned({"map": "picture", "boxes": "boxes"})[0]
    assert example["latent"].tolist() == [0, 1, 2]
    assert example["label"] == 7
    assert example["map"].shape == (3, 16, 16)
    assert torch.equal(data[1]["map"], data[1]["image"])
    assert example["boxes"] == ((1, 0.0, 0.0, 1.0, 1.0),)
    shards = write_shards(tmp_path / "pickled", array_npy=pickled.getvalue())
    with pytest.raises(UserError, match=r"40 of 40 pictures.*its \.array\.npy"):
        WebDataset(path=shards, size=16)


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


def test_features_of_a_table_become_fields_also_as_saved_by_the_library(tmp_path: Path) -> None:
    path = write_table(tmp_path / "table")
    table = HfDataset(path=path, key="file_name", size=16)
    assert table.fields == ("caption", "kind", "numbers")
    assert table.class_names == {"kind": ["even", "odd"]}
    assert table[3]["kind"] == 1
    assert table[3]["numbers"] == (3, 4)
    Dataset.from_parquet(str(path / "part-0.parquet")).save_to_disk(tmp_path / "saved")
    saved = HfDataset(path=tmp_path / "saved", key="file_name", size=16)
    assert all(torch.equal(table[i]["image"], saved[i]["image"]) for i in range(COUNT))


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


DRAWS = """
import hashlib, json, sys
from pathlib import Path
from ldmkit.training.data import Examples
from ldmkit.training.draws import Batches, seed_of
options, rank, world = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
from ldmkit_shards.hf import HfDataset
from ldmkit_shards.tar import WebDataset
kinds = {"webdataset": WebDataset, "hf-dataset": HfDataset}
options["path"] = Path(options["path"])
data = kinds[options.pop("name")](**options).split("train")
examples, order = Examples(data, ["image"]), Batches([len(data)], 4, 0, "compression")
for step in (7, 8):
    for row in range(rank * 4 // world, (rank + 1) * 4 // world):
        (index,) = order.places(step, slice(row, row + 1))
        (example,) = examples.read([index], [seed_of(step, row)])
        print(step, row, hashlib.sha256(example["image"].numpy().tobytes()).hexdigest())
"""


def test_processes_of_any_number_see_the_rows_of_one(tmp_path: Path) -> None:
    tar = {"name": "webdataset", "path": str(write_shards(tmp_path / "tar")), "size": 16, "crop": "random"}
    table = {**tar, "name": "hf-dataset", "path": str(write_table(tmp_path / "table")), "key": "file_name"}
    rows = {}
    for name, data in (("tar", tar), ("table", table)):
        for world in (1, 2):
            forks = [Fork(DRAWS, json.dumps(data), str(rank), str(world)) for rank in range(world)]
            outputs = [fork.done().stdout.splitlines() for fork in forks]
            rows[name, world] = sorted(line for lines in outputs for line in lines)
    assert len(rows["tar", 1]) == 8
    assert rows["tar", 2] == rows["tar", 1] == rows["table", 1] == rows["table", 2]


def test_a_full_disk_under_the_cache_is_no_error_and_the_next_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = write_shards(tmp_path / "tar")
    expected = WebDataset(path=shards, size=16).digest
    monkeypatch.setenv("LDMKIT_CACHE", "/dev/full/cache")
    for _ in range(2):
        assert WebDataset(path=shards, size=16).digest == expected
    monkeypatch.setenv("LDMKIT_CACHE", str(tmp_path / "again"))
    assert WebDataset(path=shards, size=16).digest == expected
    assert list((tmp_path / "again" / "shards").glob("*.json"))


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
