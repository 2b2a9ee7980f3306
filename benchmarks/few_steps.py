"""A model distilled to few steps beside its teacher with its own sampler and guidance: what it saves.

    python benchmarks/few_steps.py [--count 16] [--rounds 5]

Time is paired: each round draws the same captions with both, and the ratio of processor seconds is taken, of
latents alone and of whole pictures, with the text encoder and a decoder: the recipe's light one, and the
teacher's own. What the pictures are worth is `ldmkit evaluate`'s to say.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import torch
from deep_features import captions
from paired import Job, measure, ratios
from torch import Tensor

import ldmkit
from ldmkit.engine.system import System
from ldmkit.recipe import load

STUDENT = "recipes/text2img-fast.yaml"


def pair(steps: int, teacher: System, texts: list[str], noise: Tensor) -> dict[str, dict[str, Job]]:
    """What is measured, of both."""
    light, own = (
        ldmkit.build(load(STUDENT, [f"sampler.steps={steps}", *changes]))
        for changes in ([], ["sample.decoder=null"])
    )

    def drawn(system: System) -> Job:
        return partial(system.sample, texts)

    return {
        "latents": {
            name: partial(one.sample_latent, one.condition({"caption": texts}), noise=noise)
            for name, one in (("student", light), ("teacher", teacher))
        },
        "pictures, light decoder": {"student": drawn(light), "teacher": drawn(teacher)},
        "pictures, its decoder": {"student": drawn(own), "teacher": drawn(teacher)},
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    teacher = ldmkit.build("recipes/text2img.yaml")
    texts = list(captions(teacher, given.count))
    shape = (given.count, teacher.compression.latent.channels, 16, 16)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    print("| steps | of | ratio |\n|-|-|-|")
    for steps in (4, 2):
        for work, jobs in pair(steps, teacher, texts, noise).items():
            found = ratios(measure(jobs, given.rounds, False))
            spread = f"{min(found):.2f} to {max(found):.2f}"
            print(f"| {steps} | {work} | {statistics.median(found):.1f}x ({spread}) |", flush=True)


if __name__ == "__main__":
    main()
