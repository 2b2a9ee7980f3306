"""Muon against AdamW: the second stage of from-nothing/text2img-64.yaml, shortened, at equal steps and draws.

    python benchmarks/optimizers.py [--runs runs] [--steps 300] [--batch 16]

Each optimizer trains with each learning rate, as equal_steps.py says.
"""

from __future__ import annotations

from pathlib import Path

import click
from equal_steps import print_row

RATES = (8e-4, 1.6e-3, 4e-4)


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--steps", default=300)
@click.option("--batch", default=16)
def main(runs: Path, steps: int, batch: int) -> None:
    """Prints a row of a table for each training."""
    print("| optimizer | lr | held-out loss | loss on seen pictures |\n|-|-|-|-|", flush=True)
    for rate in RATES:
        for optimizer in ("adamw", "muon"):
            label, name = f"{optimizer} | {rate:g}", f"optimizer-{optimizer}"
            print_row(label, name, runs, steps, batch, lr=rate, optimizer=optimizer)


if __name__ == "__main__":
    main()
