"""What lies on the pictures of tar files and of tables is mirrored with them, as it is for folders."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from datasets import Dataset, Features, Image, List, Value
from ldmkit_data.image_folder import ImageFolder
from ldmkit_shards.hf import HfDataset
from ldmkit_shards.tar import WebDataset
from PIL import Image as Pillow

from ldmkit.training.data import images_of, raw_of
from ldmkit.types import FieldKind

COUNT, SIDE = 30, 16
KINDS: dict[str, FieldKind] = {
    "map": "map", "mask": "mask", "low": "picture", "layout": "boxes", "cut": "sizes", "caption": "text",
    "label": "label",
}  # fmt: skip
PICTURES = ("map", "mask", "low")


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _example(i: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The picture files and the other fields of an example; nothing in them is symmetric."""
    draws = np.random.default_rng(i)
    files = {
        "image": _png(draws.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)),
        "map": _png(draws.integers(0, 9, (SIDE, SIDE), dtype=np.uint8)),
        "mask": _png(255 * draws.integers(0, 2, (SIDE, SIDE), dtype=np.uint8)),
        "low": _png(draws.integers(0, 255, (SIDE // 4, SIDE // 4, 3), dtype=np.uint8)),
    }
    fields = {
        "layout": [[i, 0.125, 0.25, 0.5, 0.25], [3, 0.0, 0.5, 0.25, 0.5]],
        "cut": [32, 64, 0, 5, SIDE, SIDE],
        "caption": f"a thing to the left of {i}",
        "label": i,
    }
    return files, fields


def _folder(root: Path) -> ImageFolder:
    root.mkdir()
    rows = []
    for i in range(COUNT):
        files, fields = _example(i)
        names = {f: f"{i:03}.png" if f == "image" else f"{f}/{i:03}.png" for f in files}
        for field, name in names.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(files[field])
        rows.append({"file_name": names.pop("image"), **names, **fields})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ImageFolder(path=root, size=SIDE)


def _shards(root: Path) -> WebDataset:
    root.mkdir()
    with webdataset.TarWriter(str(root / "a.tar")) as writer:
        for i in range(COUNT):
            files, fields = _example(i)
            pictures = {"png" if f == "image" else f"{f}.png": content for f, content in files.items()}
            writer.write({"__key__": f"{i:03}", "json": json.dumps(fields).encode(), **pictures})
    return WebDataset(path=str(root / "a.tar"), size=SIDE)


def _table(root: Path) -> HfDataset:
    root.mkdir()
    columns: dict[str, list[Any]] = {"file_name": [f"{i:03}.png" for i in range(COUNT)]}
    for i in range(COUNT):
        files, fields = _example(i)
        encoded = {f: {"bytes": content, "path": None} for f, content in files.items()}
        for name, value in {**encoded, **fields}.items():
            columns.setdefault(name, []).append(value)
    features = {f: Image() for f in ("image", *PICTURES)}
    numbers = {"layout": List(List(Value("float64"))), "cut": List(Value("int32")), "label": Value("int32")}
    texts = {"file_name": Value("string"), "caption": Value("string")}
    Dataset.from_dict(columns, Features({**features, **numbers, **texts})).to_parquet(root / "a.parquet")
    return HfDataset(path=root, size=SIDE, key="file_name")


def _expected(i: int) -> dict[str, Any]:
    """The example, mirrored by hand: arrays column by column, a box and a cut from the other side."""
    files, fields = _example(i)
    arrays = {f: np.asarray(Pillow.open(io.BytesIO(content)))[:, ::-1] for f, content in files.items()}
    return {
        **{f: arrays[f] for f in ("map", "mask")},
        "low": np.moveaxis(arrays["low"], -1, 0) / 127.5 - 1,
        "image": np.moveaxis(arrays["image"], -1, 0) / 127.5 - 1,
        "layout": [[i, 0.375, 0.25, 0.5, 0.25], [3, 0.75, 0.5, 0.25, 0.5]],
        "cut": [32, 64, 0, 11, SIDE, SIDE],  # 32 columns after resizing: 5 before the cut, 11 after it
        "caption": fields["caption"],
        "label": i,
    }


@pytest.mark.parametrize("made", [_folder, _shards, _table])
def test_every_field_is_mirrored_with_its_picture(tmp_path: Path, made: Callable[[Path], Any]) -> None:
    data = made(tmp_path / "set").aligned(KINDS).split("train")
    shown = [data[k] for k in range(4)]
    flip = torch.tensor([True, True, True, False])
    raw = raw_of(shown, [*KINDS], torch.zeros(4, dtype=torch.long), flip, KINDS)
    pictures = images_of(shown, flip)
    for k in range(3):
        expected = _expected(shown[k]["label"])
        np.testing.assert_allclose(pictures[k], expected.pop("image"), atol=1e-6)
        for field, value in expected.items():
            if isinstance(value, str | int):
                assert raw[field][k] == value
            else:
                np.testing.assert_allclose(raw[field][k], value, atol=1e-6, err_msg=field)
    label = shown[3]["label"]
    np.testing.assert_array_equal(raw["map"][3], _expected(label)["map"][:, ::-1])
    assert list(raw["cut"][3]) == _example(label)[1]["cut"]
