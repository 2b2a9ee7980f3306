"""The curves of a training, from its metrics.jsonl files, as a picture for the docs.

python benchmarks/curves.py runs/text2img-64 docs/images/text2img-training.png
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import yaml

mpl.use("Agg")
from matplotlib import pyplot as plt


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.argument("target", type=click.Path(path_type=Path))
def main(run: Path, target: Path) -> None:
    """Plots held-out PSNR of stage one and the losses of stage two of RUN to TARGET."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), constrained_layout=True)
    _compression(left, next(run.glob("compression-*")))
    _diffusion(right, next(run.glob("diffusion-*")))
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=80)


def _compression(axes: Any, folder: Path) -> None:
    axes.plot(*_column(folder, "validation_psnr"), marker="o", markersize=3)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    adversary = recipe["train"]["compression"]["adversary"]
    if adversary:
        axes.axvline(adversary["start"], color="grey", linestyle="--", label="adversary starts")
        axes.legend()
    axes.set(title="compression", xlabel="step", ylabel="PSNR of held-out pictures [dB]")


def _diffusion(axes: Any, folder: Path) -> None:
    axes.plot(*_column(folder, "loss"), linewidth=0.6, label="training")
    axes.plot(*_column(folder, "validation_loss"), marker="o", markersize=3, label="held-out concepts")
    axes.set(title="diffusion", xlabel="step", ylabel="loss", yscale="log")
    axes.legend()


def _column(folder: Path, name: str) -> tuple[list[int], list[float]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if name in record]
    return [r["step"] for r in records], [r[name] for r in records]


if __name__ == "__main__":
    main()
