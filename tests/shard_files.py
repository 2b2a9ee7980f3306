"""Pictures with captions as a folder, as tar shards and as a table; a member of a shard that is spoilt."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import webdataset
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Pillow

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


def write_shards(root: Path, shards: int = 2, *, captioned: int = COUNT, **more: bytes) -> Path:
    """Example i lies in shard i modulo `shards`; the last have no captions. The pattern of all."""
    root.mkdir(exist_ok=True)
    for shard in range(shards):
        with webdataset.TarWriter(str(root / f"s-{shard}.tar")) as writer:
            for i in range(shard, COUNT, shards):
                fields = {suffix.replace("_", "."): content for suffix, content in more.items()}
                text = {"txt": f"picture {i}".encode()} if i < captioned else {}
                writer.write({"__key__": f"{i:03}", "png": png(i), **text, **fields})
    return root / f"s-{{0..{shards - 1}}}.tar"


def write_table(root: Path, empty: int | None = None, *, captioned: int = COUNT) -> Path:
    """A table whose rows are in no order; the last pictures have no captions, one may be empty."""
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
        "caption": [f"picture {i}" if i < captioned else None for i in range(COUNT)],
        "kind": [i % 2 for i in range(COUNT)],
        "numbers": [[i, i + 1] for i in range(COUNT)],
    }
    order = np.random.default_rng(0).permutation(COUNT)
    Dataset.from_dict(columns, features).select(order).to_parquet(root / "part-0.parquet")
    return root


def spoil(path: Path, member: str) -> None:
    """Overwrites the middle of a member, and nothing else."""
    with tarfile.open(path) as tar:
        found = tar.getmember(member)
    with path.open("r+b") as file:
        file.seek(found.offset_data + found.size // 2)
        file.write(b"\0" * 64)
