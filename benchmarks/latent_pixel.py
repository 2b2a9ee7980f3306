"""The same denoiser on the pixels and on latents of factor 2, 4 and 8 of the same pictures.

    python benchmarks/latent_pixel.py [--size 64] [--steps 20] [--rounds 3] [--threads 1]

The paper's central claim (section 4.1) is about cost, so the weights are untrained: one UNet of one width,
levels and attention (from its second level on) for all factors; the autoencoders are KL ones. A training step
is forward, backward and fused AdamW on latents that are there already, as in training; sampling is DDIM,
unguided, with decoding. Memory is what a training step takes at most above what it holds between two.
"""

from __future__ import annotations

import statistics
from typing import Any

import click
import torch
from paired import Job, in_fresh_process, measure, peak_during
from torch import nn
from twins import condition, system_of

from ldmkit.engine.system import System

UNET = {"name": "unet", "width": 64, "multipliers": [1, 2, 2], "blocks": 1, "attention": [2, 4]}
CHANNELS = {1: 3, 2: 2, 4: 3, 8: 4}
"""Channels of the latent by factor, the paper's."""
BATCH = 8


def system(factor: int, size: int) -> System:
    """The system of one factor."""
    kl = {"name": "kl-autoencoder", "factor": factor, "channels": CHANNELS[factor], "width": 32, "blocks": 1}
    return system_of(UNET, {"name": "identity"} if factor == 1 else kl, size)


def training(made: System, size: int) -> Job:
    """A training step of BATCH latents."""
    network: nn.Module = made.network  # type: ignore[assignment]  # a Protocol
    spec, said = made.compression.latent, condition(BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    z = torch.randn(BATCH, spec.channels, size // spec.factor, size // spec.factor)
    t = torch.full((BATCH,), 500.0)

    def step() -> None:
        network(z, t, said).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def sampling(made: System, size: int, steps: int) -> Job:
    """A picture from noise, decoded."""
    spec, said = made.compression.latent, {"caption": condition(1)}
    noise = torch.randn(1, spec.channels, size // spec.factor, size // spec.factor)
    options: Any = {"noise": noise, "steps": steps, "guidance": []}
    return lambda: made.compression.decode(made.sample_latent(said, **options))


def pictures_per_second(jobs: dict[int, Job], rounds: int, train: bool, each: int) -> dict[int, float]:
    """By factor, the median of alternating rounds."""
    seconds = measure({str(f): job for f, job in jobs.items()}, rounds, train)
    return {f: each / statistics.median(seconds[str(f)]) for f in jobs}


def memory(factor: int) -> int:
    """Megabytes of a training step, from a fresh process."""
    return int(in_fresh_process(str(factor)))


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--size", default=64)
@click.option("--steps", default=20)
@click.option("--rounds", default=3)
@click.option("--threads", default=1)
@click.option("--only", type=int, help="A factor: its memory alone.")
def main(size: int, steps: int, rounds: int, threads: int, only: int | None) -> None:
    """The table."""
    torch.set_num_threads(threads)
    if only:
        print(peak_during(training(system(only, size), size), train=True))
        return
    systems = {factor: system(factor, size) for factor in CHANNELS}
    trained = pictures_per_second({f: training(s, size) for f, s in systems.items()}, rounds, True, BATCH)
    sampled = pictures_per_second(
        {f: sampling(s, size, steps) for f, s in systems.items()}, rounds, False, each=1
    )
    print("| factor | latent | training, of f = 1 | sampling, of f = 1 | memory of a step |\n|-|-|-|-|-|")
    for f in CHANNELS:
        shape = f"{CHANNELS[f]}x{size // f}x{size // f}"
        speeds = f"{trained[f] / trained[1]:.1f}x | {sampled[f] / sampled[1]:.1f}x"
        print(f"| {f} | {shape} | {speeds} | {memory(f)} MB |")


if __name__ == "__main__":
    main()
