"""A 1024 x 1024 picture through the kl-f8 topology: whole, in our tiles, in diffusers' tiles.

    python benchmarks/tiling.py [--width 128] [--side 1024] [--tile 512] [--threads 1]

The same random weights and the same picture, a sheet of emoji. Each way runs in a process of its own, which
gives its peak memory above what it held before. Differences are to the untiled result, relative to its norm.
diffusers' tiles have this size too, and its default overlap, a quarter; ours have a quarter likewise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from paired import in_fresh_process, peak_during, seconds_of
from torch import Tensor
from twins import autoencoders

from ldmkit.engine.components import build
from ldmkit.engine.tiling import tiled_decode, tiled_encode
from ldmkit.host.plugins import host
from ldmkit.pictures import normalize
from ldmkit.recipe import load, resolve

RECIPE = Path(__file__).parents[1] / "recipes" / "from-nothing" / "text2img-64.yaml"
FACTOR = 8
WAYS = ("whole", "ldmkit", "diffusers")


def sheet(side: int) -> Tensor:
    """Held-out emoji side by side, as one picture."""
    registry = host().registry
    recipe = resolve(load(RECIPE), registry)
    assert recipe.data is not None
    data = build(registry, "data", recipe.data).split("validation")
    across = side // 64
    images = torch.stack([data[i % len(data)]["image"] for i in range(across**2)])
    rows = images.reshape(across, across, 3, 64, 64).permute(2, 0, 3, 1, 4)
    return normalize(rows.reshape(1, 3, side, side))


def work(way: str, width: int, side: int, tile: int) -> dict[str, Callable[[], Tensor]]:
    """Encoding and decoding in one way."""
    ours, theirs = autoencoders("kl-autoencoder", {"width": width, "factor": FACTOR, "channels": 4})
    image, latent = sheet(side), torch.randn(1, 4, side // FACTOR, side // FACTOR)
    if way == "whole":
        return {"encode": partial(ours.encode, image), "decode": partial(ours.decode, latent)}
    if way == "ldmkit":
        size: dict[str, Any] = {"tile": tile, "overlap": tile // 4}
        return {
            "encode": partial(tiled_encode, ours, image, **size),
            "decode": partial(tiled_decode, ours, latent, **size),
        }
    theirs.enable_tiling()
    theirs.tile_sample_min_size, theirs.tile_latent_min_size = tile, tile // FACTOR
    return {
        "encode": lambda: theirs.encode(image).latent_dist.mode(),
        "decode": lambda: theirs.decode(latent).sample,
    }


def alone(folder: Path, way: str, width: int, side: int, tile: int) -> None:
    """Does the work of one way, leaves results and figures in `folder`."""
    for what, job in work(way, width, side, tile).items():
        made: dict[str, Any] = {}
        made["memory"] = peak_during(partial(keep, job, made), train=False, warm=False)
        torch.save(made, folder / f"{way}-{what}.pt")


def keep(job: Callable[[], Tensor], made: dict[str, Any]) -> None:
    """Does the work; its result and its seconds go into `made`."""
    made["seconds"] = seconds_of(lambda: made.update(result=job()))


def show(folder: Path, what: str) -> None:
    """The lines of encoding or decoding."""
    found = {way: torch.load(folder / f"{way}-{what}.pt") for way in WAYS}
    whole = found["whole"]
    for way, made in found.items():
        error, size = made["result"] - whole["result"], whole["result"]
        memory = f"{made['memory']} MB ({made['memory'] / whole['memory']:.2f})"
        differences = f"{error.norm() / size.norm():.3f} | {error.abs().max() / size.abs().max():.3f}"
        print(f"| {what} | {way} | {memory} | {made['seconds'] / whole['seconds']:.2f} | {differences} |")


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--width", default=128)
@click.option("--side", default=1024)
@click.option("--tile", default=512)
@click.option("--threads", default=1)
@click.option("--only", nargs=2, type=str, help="Folder and way: what a process of its own does.")
def main(width: int, side: int, tile: int, threads: int, only: tuple[str, str] | None) -> None:
    """The table."""
    torch.set_num_threads(threads)
    if only:
        alone(Path(only[0]), only[1], width, side, tile)
        return
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            in_fresh_process(folder, way)
        print("| work | way | peak memory (of whole) | time, of whole | difference | largest difference |")
        print("|-|-|-|-|-|-|")
        for what in ("encode", "decode"):
            show(Path(folder), what)


if __name__ == "__main__":
    main()
