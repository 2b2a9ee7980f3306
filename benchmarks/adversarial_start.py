"""What the adversary's start does to held-out reconstructions: our start and the published one.

    python benchmarks/adversarial_start.py docs/images/adversarial-start.png [--runs runs]

Two short trainings of text2img-64's first stage on pictures of 32 x 32, alike but for the start. Here the
discriminator has learned for 200 steps, and its weight grows over 300; published, it starts untrained and at
its full weight, which is .5 for both.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import matplotlib as mpl

from ldmkit.engine.weights import stage_folder
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.verbs.arguments import Terms
from ldmkit.verbs.train import train_recipe

mpl.use("Agg")
from matplotlib import pyplot as plt

RECIPE = Path(__file__).parents[1] / "recipes" / "from-nothing" / "text2img-64.yaml"
START, STEPS = 700, 1200
STARTS = {"here": (200, 300), "published": (0, 0)}
"""Warm-up and ramp."""
Curve = dict[int, float]


def settings(name: str) -> list[str]:
    """The recipe's overrides for one start."""
    warmup, ramp = STARTS[name]
    kind = f"name: patch-adversarial, start: {START}, warmup: {warmup}, ramp: {ramp}"
    adversary = f"{{{kind}, weight: 0.5, layers: 2, width: 32}}"
    training = {"steps": STEPS, "validate_every": 20, "picture_every": STEPS, "adversary": adversary}
    changed = [f"train.compression.{key}={value}" for key, value in training.items()]
    return [f"name=adversary-{name}", "data.size=32", *changed]


def psnr(name: str, runs: Path) -> Curve:
    """Held-out PSNR by step; trains what is not there yet."""
    overrides = settings(name)
    train_recipe(RECIPE, overrides, Terms(runs), stage="compression", restart=False, say=click.echo)
    registry = host().registry
    recipe = resolve(load(RECIPE, overrides), registry)
    folder = stage_folder(recipe, registry, "compression", runs)
    records = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {r["step"]: r["validation_psnr"] for r in records if "validation_psnr" in r}


def drop(curve: Curve) -> float:
    """How far the PSNR falls after the start below its best until then, in dB."""
    before = max(value for step, value in curve.items() if step <= START)
    return before - min(value for step, value in curve.items() if step > START)


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
def main(target: Path, runs: Path) -> None:
    """Plots both to TARGET and prints the drops."""
    figure, axes = plt.subplots(figsize=(6, 3.5), constrained_layout=True)
    for name in STARTS:
        curve = psnr(name, runs)
        axes.plot(list(curve), list(curve.values()), label=name)
        print(f"{name}: falls by {max(drop(curve), 0):.2f} dB at most, ends at {curve[STEPS]:.2f} dB")
    axes.axvline(START, color="grey", linestyle="--", label="start")
    axes.set(xlabel="step", ylabel="PSNR of held-out pictures [dB]")
    axes.legend()
    figure.savefig(target, dpi=80)


if __name__ == "__main__":
    main()
