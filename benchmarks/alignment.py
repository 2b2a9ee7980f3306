"""The second stage of from-nothing/text2img-64.yaml, shortened, with and without representation alignment.

    python benchmarks/alignment.py [--runs runs] [--steps 300] [--batch 16]

Each row adds `alignment` of one of the UNet's layers with efficientnet-lite0 at one weight. Steps and draws
are equal, as equal_steps.py says.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from equal_steps import print_row

VARIANTS = {
    "none": None,
    "middle, 0.5": ("middle.0", 0.5, 0.0),
    "middle, 0.5, manifold 1": ("middle.0", 0.5, 1.0),
}


def auxiliaries(variant: tuple[str, float, float] | None) -> str:
    """The recipe's `auxiliary` for one row."""
    if variant is None:
        return "[]"
    layer, weight, manifold = variant
    component = {
        "name": "alignment",
        "layer": layer,
        "features": "efficientnet-lite0",
        "weight": weight,
        "manifold": manifold,
    }
    return json.dumps([component])


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--steps", default=300)
@click.option("--batch", default=16)
def main(runs: Path, steps: int, batch: int) -> None:
    """Prints a row of a table for each training."""
    print("| alignment | held-out loss | loss on seen pictures |\n|-|-|-|", flush=True)
    for name, variant in VARIANTS.items():
        print_row(name, "alignment", runs, steps, batch, lr=8e-4, auxiliary=auxiliaries(variant))


if __name__ == "__main__":
    main()
