"""How far the clean latent that a denoiser estimates is from the true one, by noise level.

    python benchmarks/error_by_noise.py recipes/text2img.yaml [-s PATH=VALUE] [--runs runs]

The mean squared error of latents of unit variance, with the pictures' own captions and the same noise for
every model: at much noise it says what the network has made of the captions, at little what of details. A
model that has learned pictures by heart is better on "train" than on the held-out "pairs".
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

import ldmkit
from ldmkit.engine.components import build
from ldmkit.engine.system import System
from ldmkit.interfaces import Dataset
from ldmkit.pictures import normalize

TIMESTEPS = (300, 600, 800, 950)
COUNT = 192


def errors(system: System, data: Dataset) -> list[float]:
    """The error at each of TIMESTEPS, over pictures spread evenly over a split."""
    examples = [data[i] for i in range(0, len(data), max(1, len(data) // COUNT))]
    clean = system.compression.encode(normalize(torch.stack([e["image"] for e in examples])))
    said = system.condition({"caption": [e["caption"] for e in examples]})
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for timestep in TIMESTEPS:
        level = system.schedule.level(torch.full((len(clean),), timestep / 999))
        z = level.add_noise(clean, noise)
        raw = system.denoise(system.objective.scale_input(z, level), level.time.to(z), said)
        estimate = system.objective.estimate(raw, z, level).clean
        found.append(float((estimate - clean).square().mean()))
    return found


@click.command(help=(__doc__ or "").splitlines()[0])
@click.argument("recipe", type=click.Path(path_type=Path, exists=True))
@click.option("-s", "overrides", multiple=True, metavar="PATH=VALUE")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
@torch.inference_mode()
def main(recipe: Path, overrides: tuple[str, ...], runs: Path) -> None:
    """The table."""
    system = ldmkit.build(recipe, overrides, runs=runs)
    assert system.recipe.data is not None
    data = build(system.registry, "data", system.recipe.data)
    print(f"| split | {' | '.join(f't = {t}' for t in TIMESTEPS)} |\n|-{'|-' * len(TIMESTEPS)}|")
    for split in ("train", "pairs"):
        print(f"| {split} | {' | '.join(f'{x:.3f}' for x in errors(system, data.split(split)))} |")


if __name__ == "__main__":
    main()
