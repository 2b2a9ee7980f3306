"""Muon against AdamW: the second stage of recipes/text2img.yaml, shortened, at equal steps and draws.

    python benchmarks/optimizers.py [--runs runs] [--steps 300] [--batch 16]

Each optimizer trains with each learning rate from the same initial weights. Both losses are those of the
averaged weights under the same noise and levels: on 512 held-out pictures and on 512 pictures of the training
set. What has been trained already is not trained again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ldmkit.engine.components import build
from ldmkit.engine.system import System
from ldmkit.interfaces import Dataset
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.verbs.asked import Terms
from ldmkit.verbs.train import train_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "text2img.yaml"
RATES = (8e-4, 1.6e-3, 4e-4)


class Seen:
    """A data set whose every split is the one that a model is trained on."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self.fields, self.digest, self.skipped = data.fields, data.digest, data.skipped

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.data[index]

    def split(self, name: str) -> Dataset:
        """The training split."""
        return self.data.split("train")


def settings(optimizer: str, rate: float, steps: int, batch: int) -> list[str]:
    """The recipe's overrides for one training."""
    training = {
        "steps": steps,
        "batch": batch,
        "lr": rate,
        "warmup": steps // 10,
        "ema": 0.99,
        "optimizer": optimizer,
        "checkpoint_every": 50,
    }
    changed = [f"train.diffusion.{key}={value}" for key, value in training.items()]
    return [f"name=optimizer-{optimizer}", "sample.prompts=[]", *changed]


def losses(system: System, runs: Path) -> tuple[float, float]:
    """The loss on held-out and on seen pictures."""
    options, registry = system.recipe.train.diffusion, system.registry
    assert options is not None
    assert system.recipe.data is not None
    data: Dataset = build(registry, "data", system.recipe.data)
    values = []
    for source in (data, Seen(data)):
        stage = DiffusionStage(system, options, source, runs / system.recipe.name / "cache")
        sums = stage.validate(0, 1)
        values.append(float(sums["loss"] / sums["count"]))
    return values[0], values[1]


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--steps", default=300)
@click.option("--batch", default=16)
def main(runs: Path, steps: int, batch: int) -> None:
    """Prints a row of a table for each training."""
    print("| optimizer | lr | held-out loss | loss on seen pictures |\n|-|-|-|-|", flush=True)
    for rate in RATES:
        for optimizer in ("adamw", "muon"):
            began = time.process_time()
            system = train_recipe(
                RECIPE,
                settings(optimizer, rate, steps, batch),
                Terms(runs),
                stage="diffusion",
                restart=False,
                say=lambda _: None,
            )
            seconds = time.process_time() - began
            held_out, seen = losses(system, runs)
            print(f"| {optimizer} | {rate:g} | {held_out:.4f} | {seen:.4f} |", flush=True)
            click.echo(f"{seconds:.0f} s of the processor", err=True)


if __name__ == "__main__":
    main()
