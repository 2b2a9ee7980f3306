"""Originals above reconstructions by the shipped autoencoder with codes, and the use of the codebook.

python benchmarks/reconstructions.py docs/images/reconstructions.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

import ldmkit
from ldmkit.engine.components import build
from ldmkit.interfaces import Dataset
from ldmkit.pictures import normalize, to_pictures
from ldmkit.pictures.png import grid, save_picture

RECIPE = Path(__file__).parents[1] / "recipes" / "autoencoder-vq.yaml"
SHOWN, BATCH = 12, 64


def pictures(data: Dataset, rows: range) -> Tensor:
    """Some of a split's pictures in [-1, 1]."""
    return normalize(torch.stack([data[i]["image"] for i in rows]))


def use_of_codes(model: Any, data: Dataset) -> tuple[float, float]:
    """The share of the codes that the pictures use, and the perplexity of their use."""
    uses = torch.zeros(len(model.regulariser.codebook))
    for start in range(0, len(data), BATCH):
        image = pictures(data, range(start, min(start + BATCH, len(data))))
        uses += torch.bincount(model.codes(model.encode(image)).flatten(), minlength=len(uses))
    return float((uses > 0).float().mean()), float(torch.special.entr(uses / uses.sum()).sum().exp())


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("target", type=click.Path(path_type=Path))
@torch.inference_mode()
def main(target: Path) -> None:
    """Writes TARGET: held-out originals, their reconstructions below; prints the use of the codebook."""
    vq = ldmkit.build(RECIPE)
    assert vq.recipe.data is not None
    data = build(vq.registry, "data", vq.recipe.data)
    held_out = data.split("validation")
    image = pictures(held_out, range(0, len(held_out), len(held_out) // SHOWN)[:SHOWN])
    made = vq.compression.decode(vq.compression.encode(image))
    save_picture(grid(to_pictures(torch.cat([image, made])), columns=SHOWN), target, {})
    for split in ("train", "validation"):
        share, perplexity = use_of_codes(vq.compression, data.split(split))
        print(f"{split}: {share:.1%} of the codes are used, perplexity {perplexity:.0f}")


if __name__ == "__main__":
    main()
