"""Start of a folder of pictures: cold (no index), warm, memory above the libraries, by number of pictures.

    python benchmarks/data_start.py --counts 1000 10000 100000

Each line is a process of its own. The pictures are small PNG files that this script writes; nothing is
decoded at the start of a folder with more than 4096 of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 16
PER_FOLDER = 1000


def write_pictures(root: Path, count: int) -> None:
    """`count` PNG files of noise, a thousand a folder."""
    draws = np.random.default_rng(0)
    for i in range(count):
        path = root / f"{i // PER_FOLDER:04}" / f"{i:07}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(path, compress_level=1)


def start(path: str) -> None:
    """Opens the folder as a training does, and prints seconds and MB above what the libraries take."""
    from ldmkit_data.image_folder import ImageFolder

    began_busy = time.process_time()
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    data = ImageFolder(path=Path(path), size=SIDE)
    train, held = data.split("train"), data.split("validation")
    digests = train.digest, held.digest
    seconds, busy = time.perf_counter() - began, time.process_time() - began_busy
    example = train[len(train) // 2]["image"]
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert example.shape == (3, SIDE, SIDE)
    assert len(set(digests)) == 2
    print(
        f"{len(data):>8} pictures  {seconds:7.2f} s  {busy:7.2f} s of a processor  {memory:6.0f} MB",
        flush=True,
    )


def main() -> None:
    """Writes the folders and starts each twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        return start(options.start)
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder, "pictures"), count)
            environment = {**os.environ, "LDMKIT_CACHE": f"{folder}/cache"}
            for state in ("cold", "warm"):
                print(f"{state:5}", end="", flush=True)
                command = [sys.executable, __file__, "--start", f"{folder}/pictures"]
                subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    main()
