"""Tar shards and tables give the examples of a folder of the same files; what is broken is told."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from datasets import Dataset
from forks import Fork
from ldmkit_data.image_folder import ImageFolder
from ldmkit_shards.hf import HfDataset
from ldmkit_shards.tar import WebDataset
from safetensors.torch import load_file
from shard_files import COUNT, png, write_folder, write_shards, write_table
from small_recipes import PIXELS

from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.testing.pictures import check_data


def test_the_same_pictures_in_folder_shards_and_table_are_the_same_examples(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder")
    folder = ImageFolder(path=tmp_path / "folder", size=16)
    tar = WebDataset(path=write_shards(tmp_path / "tar", 3), size=16)
    table = HfDataset(path=write_table(tmp_path / "table"), key="file_name", size=16)
    for data in (folder, tar, table):
        check_data(data)
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
    for content, reason in (
        ({"array_npy": b"\x80\x04."}, r"array\.npy.*no array that numpy\.save has written"),
        ({"txt": "a cat".encode("utf-16-le")}, r"its \.txt.*null characters"),
    ):
        shards = write_shards(tmp_path / next(iter(content)), **content)
        with pytest.raises(UserError, match=reason):
            WebDataset(path=shards, size=16).reading(["array", "caption"])
    shards = write_shards(tmp_path / "pickled", array_npy=pickled.getvalue())
    with pytest.raises(UserError, match=r"40 of 40 pictures.*its \.array\.npy"):
        WebDataset(path=shards, size=16).reading(["array"])


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
