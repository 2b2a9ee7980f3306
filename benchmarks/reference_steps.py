"""How near few steps of each sampler come to a thousand, on a trained model.

    python benchmarks/reference_steps.py recipes/text2img.yaml --chart docs/reference-steps.svg

From the same noise, with the recipe's guidance: the distance of latents to those of DDIM in 1000 steps,
relative to their norm, the mean over captions of the training set.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import click
import torch
from chart import write
from torch import Tensor

import ldmkit
from ldmkit.engine.components import build
from ldmkit.engine.system import System
from ldmkit.types import Conditions

SAMPLERS = ("ddim", "plms", "heun", "dpmpp-2m", "unipc")
SPACINGS = ("leading", "trailing", "karras")
STEPS = (5, 10, 20, 50, 100)
REFERENCE = {"name": "ddim", "spacing": "trailing", "steps": 1000}


def captions(system: System, count: int) -> list[str]:
    """Captions of the training set, evenly spread."""
    assert system.recipe.data is not None
    data = build(system.registry, "data", system.recipe.data).split("train")
    return [data[i * len(data) // count]["caption"] for i in range(count)]


def distance(made: Tensor, wanted: Tensor) -> float:
    """The mean over pictures of |made - wanted| / |wanted|."""
    return float(((made - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).mean())


def distances(system: System, said: Conditions, noise: Tensor) -> dict[tuple[str, str], list[float]]:
    """By sampler and spacing: the distance for each number of steps."""
    wanted = system.sample_latent(said, noise=noise, sampler=REFERENCE)
    return {
        (name, spacing): [
            distance(
                system.sample_latent(
                    said, noise=noise, sampler={"name": name, "spacing": spacing, "steps": steps}
                ),
                wanted,
            )
            for steps in STEPS
        ]
        for name, spacing in product(SAMPLERS, SPACINGS)
    }


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("recipe", type=click.Path(path_type=Path, exists=True))
@click.option("--chart", type=click.Path(path_type=Path), help="An SVG of each sampler's best spacing.")
@click.option("--count", default=16, help="Captions.")
@click.option("--threads", default=2)
@torch.inference_mode()
def main(recipe: Path, chart: Path | None, count: int, threads: int) -> None:
    """The table."""
    torch.set_num_threads(threads)
    system = ldmkit.build(recipe).eval()
    said = system.condition({"caption": captions(system, count)})
    spec, (height, width) = system.compression.latent, system.recipe.sample.size or (64, 64)
    noise = torch.randn(
        count,
        spec.channels,
        height // spec.factor,
        width // spec.factor,
        generator=torch.Generator().manual_seed(0),
    )
    found = distances(system, said, noise)
    print(f"| sampler | spacing | {' | '.join(f'{n} steps' for n in STEPS)} |\n|-|-|{'-|' * len(STEPS)}")
    for (name, spacing), line in found.items():
        print(f"| {name} | {spacing} | {' | '.join(f'{x:.3f}' for x in line)} |")
    if chart:
        best = {n: min((found[n, s] for s in SPACINGS), key=lambda line: line[2]) for n in SAMPLERS}
        lines = {name: list(zip(STEPS, line, strict=True)) for name, line in best.items()}
        write(chart, lines, "steps", "distance to 1000 steps of DDIM")


if __name__ == "__main__":
    main()
