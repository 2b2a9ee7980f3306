"""The second stage of from-nothing/text2img-64.yaml, shortened, trained in several ways from equal weights.

Every training sees the same pictures, noise and levels in the same order. The losses that are compared are
those of the averaged weights under the same noise and levels: on 512 held-out pictures and on 512 of the
training set.
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
from ldmkit.verbs.arguments import Terms
from ldmkit.verbs.train import train_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "from-nothing" / "text2img-64.yaml"
FIRST_STAGE = ("train.compression=null", "weights={recipe: first-stage}")


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


def print_row(label: str, name: str, runs: Path, steps: int, batch: int, **options: object) -> None:
    """Trains, then prints a table's row of `label` and both losses, and the time to stderr."""
    began = time.process_time()
    system = trained(name, runs, steps, batch, **options)
    seconds = time.process_time() - began
    held_out, seen = losses(system, runs)
    print(f"| {label} | {held_out:.4f} | {seen:.4f} |", flush=True)
    click.echo(f"{seconds:.0f} s of the processor", err=True)


def trained(name: str, runs: Path, steps: int, batch: int, **options: object) -> System:
    """The system after a shortened second stage with `options`; what has been trained already is found."""
    training = {
        "steps": steps,
        "batch": batch,
        "warmup": steps // 10,
        "ema": 0.99,
        "checkpoint_every": 50,
        **options,
    }
    changed = [f"train.diffusion.{key}={value}" for key, value in training.items()]
    overrides = [f"name={name}", "sample.prompts=[]", *FIRST_STAGE, *changed]
    return train_recipe(RECIPE, overrides, Terms(runs), stage="diffusion", restart=False, say=lambda _: None)


def losses(system: System, runs: Path) -> tuple[float, float]:
    """The objective's loss on held-out and on seen pictures."""
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
