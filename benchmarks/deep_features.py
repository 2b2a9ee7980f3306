"""Reuse of the UNet's deep features between steps (DeepCache): what it saves, and what it changes.

    python benchmarks/deep_features.py [RECIPE] [--count 16] [--rounds 5]

The recipe's own sampler and guidance on captions of its data, with shipped weights. Time is paired: each
round samples with and without, and the ratio of processor seconds is taken. The error is the distance of the
latents, relative to their norm, the mean over the captions.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial

import torch
from paired import Job, measure, ratios
from torch import Tensor

import ldmkit
from ldmkit.engine.system import System
from ldmkit.types import Conditions

INTERVALS = (2, 3, 5)


def latents(system: System, conditions: Conditions, noise: Tensor, reuse: int) -> Tensor:
    """The recipe's sampling with that interval."""
    slot = system.recipe.sampler.model_copy(update={"reuse": reuse})
    recipe = system.recipe
    system.recipe = recipe.model_copy(update={"sampler": slot})
    made = system.sample_latent(conditions, noise=noise)
    system.recipe = recipe
    return made


def captions(system: System, count: int) -> Sequence[str]:
    """Training captions, evenly spread."""
    data = system.dataset().split("train")
    return [data[i * len(data) // count]["caption"] for i in range(count)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="recipes/text2img.yaml")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    system = ldmkit.build(given.recipe)
    conditions = system.condition({"caption": captions(system, given.count)})
    latent, (height, width) = system.compression.latent, system.size or (64, 64)
    shape = (given.count, latent.channels, height // latent.factor, width // latent.factor)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    exact = latents(system, conditions, noise, 1)
    print("| interval | ratio | relative error of the latents |\n|-|-|-|")
    for interval in INTERVALS:
        error = (latents(system, conditions, noise, interval) - exact).flatten(1).norm(dim=1)
        relative = float((error / exact.flatten(1).norm(dim=1)).mean())
        pair: dict[str, Job] = {
            "reused": partial(latents, system, conditions, noise, interval),
            "whole": partial(latents, system, conditions, noise, 1),
        }
        found = ratios(measure(pair, given.rounds, False))
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"| {interval} | {statistics.median(found):.2f}x ({spread}) | {relative:.3f} |", flush=True)


if __name__ == "__main__":
    main()
