"""Pictures a second from folder, tar, parquet and latents, and what of a training step is spent waiting.

    python benchmarks/data_rates.py --counts 500 2000

Seconds are of the processor, so that other work on the machine counts little, and ratios compare rows of one
run. Pictures are small PNG files that this script writes.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ldmkit.engine.system import assemble
from ldmkit.host.plugins import host
from ldmkit.interfaces import Dataset
from ldmkit.recipe import load, resolve
from ldmkit.training.compression import CompressionStage
from ldmkit.training.data import Examples
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.draws import Order

SIDE, BATCH, STEPS = 64, 16, 6


def pictures(count: int) -> list[bytes]:
    """Smooth noise as PNG."""
    draws, files = np.random.default_rng(0), []
    for _ in range(count):
        small = Image.fromarray(draws.integers(0, 255, (8, 8, 3), np.uint8))
        file = io.BytesIO()
        small.resize((96, 80), Image.Resampling.BICUBIC).save(file, "PNG")
        files.append(file.getvalue())
    return files


def write(root: Path, files: Sequence[bytes]) -> dict[str, Dataset]:
    """The same pictures in three forms."""
    from datasets import Dataset as Table
    from datasets import Features, Value
    from datasets import Image as Column
    from ldmkit_data.image_folder import ImageFolder
    from ldmkit_shards.hf import HfDataset
    from ldmkit_shards.tar import WebDataset

    (root / "folder").mkdir()
    with tarfile.open(root / "a.tar", "w") as tar:
        for i, content in enumerate(files):
            (root / "folder" / f"{i:06}.png").write_bytes(content)
            (root / "folder" / f"{i:06}.txt").write_text(f"picture {i}")
            for name, part in ((f"{i:06}.png", content), (f"{i:06}.txt", f"picture {i}".encode())):
                info = tarfile.TarInfo(name)
                info.size = len(part)
                tar.addfile(info, io.BytesIO(part))
    columns = {
        "image": [{"bytes": f, "path": None} for f in files],
        "key": [f"{i:06}.png" for i in range(len(files))],
    }
    (root / "table").mkdir()
    Table.from_dict(columns, Features({"image": Column(), "key": Value("string")})).to_parquet(
        root / "table/a.parquet"
    )
    return {
        "folder": ImageFolder(path=root / "folder", size=SIDE),
        "tar": WebDataset(path=root / "a.tar", size=SIDE),
        "parquet": HfDataset(path=root / "table", key="key", size=SIDE),
    }


def busy(job: Callable[[int], object], steps: int) -> float:
    """Processor seconds of one step, all threads together."""
    job(0)
    began = time.process_time()
    for step in range(1, steps + 1):
        job(step)
    return (time.process_time() - began) / steps


def rates(root: Path, count: int) -> None:
    """A row for each source."""
    for name, data in write(root, pictures(count)).items():
        examples, order = Examples(data.split("train"), ["image"], memory=0), Order(count * 9 // 10, 0, "x")

        def read(step: int, examples: Examples = examples, order: Order = order) -> object:
            return examples.read(order.take(step * BATCH, (step + 1) * BATCH).tolist())

        print(f"| {name} | {count} | {BATCH / busy(read, STEPS):.0f} |", flush=True)


def waiting(root: Path, count: int) -> None:
    """Reading against the whole step, of both stages."""
    stage = {"steps": 9, "batch": BATCH, "lr": 1e-4}
    recipe = {
        "recipe": 1,
        "name": "rates",
        "data": {"name": "image-folder", "path": str(root / "folder"), "size": SIDE, "crop": "random"},
        "compression": {"name": "kl-autoencoder", "factor": 8, "channels": 4, "width": 32, "blocks": 1},
        "denoiser": {"name": "unet", "width": 64, "multipliers": [1, 2], "blocks": 1},
        "train": {"compression": {**stage, "loss": ["pixel"]}, "diffusion": {**stage, "crop": "center"}},
    }
    registry = host().registry
    system = assemble(resolve(load(recipe), registry), registry)
    options = system.recipe.train
    assert options.compression is not None
    assert options.diffusion is not None
    first = CompressionStage(system, options.compression, system.dataset())
    share("stage one, from pictures", count, first)
    system.get_submodule("compression").requires_grad_(False)
    share(
        "stage two, from latents",
        count,
        DiffusionStage(system, options.diffusion, system.dataset(), root / "cache"),
    )


def share(name: str, count: int, stage: CompressionStage | DiffusionStage) -> None:
    """Seconds until a step has its batch, as a share of the step; reading ahead goes on meanwhile."""
    read = total = 0.0
    for step in range(STEPS + 1):
        began = time.perf_counter()
        batch, draws = stage.batch(step, slice(0, BATCH))
        waited = time.perf_counter() - began
        stage.learners[0].step(batch, draws)[0]["loss"].backward()
        if step:
            read, total = read + waited, total + time.perf_counter() - began
    print(f"| {name} | {count} | {read / total:.1%} of the time |", flush=True)


def main() -> None:
    """Every row at every count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000])
    torch.set_num_threads(1)
    print("| from | pictures | pictures a second of a processor, or waiting |\n|-|-|-|")
    for count in parser.parse_args().counts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LDMKIT_CACHE"] = f"{folder}/cache"
            rates(Path(folder), count)
            waiting(Path(folder), count)


if __name__ == "__main__":
    main()
