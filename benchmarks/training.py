"""A training step of the diffusion stage on cached latents beside a loop of diffusers' parts.

    python benchmarks/training.py [--rounds 10] [--threads 1]

Ours is the training loop's own step on the emoji, sizes of from-nothing/text2img-64.yaml: batch from cached
latents and text states, noise, forward, backward, clipping, fused AdamW, moving average. Theirs takes the
same sizes and weights through `UNet2DConditionModel`, `DDPMScheduler`, fused AdamW and `EMAModel`, from
tensors in memory. The caches are made on the first run, below runs/. The last line is ours alone: the share
of a step that a bare forward, backward and optimizer step of the same network would not take.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from paired import Case, Job, main, measure, ratios
from torch import Tensor
from torch.nn import functional as F
from twins import network_of, stir, twin

from ldmkit.checkpoint import RunStore
from ldmkit.engine.components import build
from ldmkit.engine.system import System, assemble
from ldmkit.engine.weights import find_weights, load_stage
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.interrupt import Signal
from ldmkit.training.loop import Loop
from ldmkit.types import Condition

RECIPE = Path(__file__).parents[1] / "recipes" / "from-nothing" / "text2img-64.yaml"
RUNS = Path("runs")
SETTINGS = (
    "train.compression=null",
    "weights={recipe: first-stage}",
    "conditioners.caption.vector=false",
    "objective={name: epsilon}",
    "train.diffusion.warmup=0",
    "train.diffusion.batch=32",
)
"""Batches of 32 on the shipped first stage; what a plain loop of diffusers' parts has no word for is left
out."""


def made() -> tuple[System, DiffusionStage, Loop]:
    """The diffusion stage of text2img-64 as the training command makes it, with new weights."""
    registry = host().registry
    recipe = resolve(load(RECIPE, SETTINGS), registry)
    system = assemble(recipe, registry)
    weights = find_weights(recipe, registry, "compression", RUNS)
    assert weights is not None
    load_stage(system, "compression", weights)
    stir(network_of(system))
    assert recipe.data is not None
    assert recipe.train.diffusion is not None
    data = build(registry, "data", recipe.data)
    stage = DiffusionStage(system, recipe.train.diffusion, data, RUNS / "benchmarks" / "cache")
    store = RunStore(RUNS / "benchmarks" / "training", "diffusion")
    return system, stage, Loop(stage, store, Accelerator(cpu=True), lambda _: None)


def ours(loop: Loop) -> Job:
    """Our step, again and again."""
    signal = Signal()
    return lambda: loop.step(1000, signal)


def theirs(unet: Any, said: Condition, size: torch.Size, count: int) -> Job:
    """diffusers' step on tables of `count` latents and text states."""
    scheduler: Any = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-6, fused=True)
    average = EMAModel(unet.parameters(), decay=0.999, foreach=True)
    assert said.tokens is not None
    assert said.mask is not None
    modes, deviations = torch.randn(count, *size[1:]), torch.rand(count, *size[1:])
    states, masks = said.tokens.repeat(count // size[0], 1, 1), said.mask.repeat(count // size[0], 1)

    def step() -> None:
        rows, noise = torch.randint(len(states), (size[0],)), torch.randn(size)
        clean = modes[rows] + deviations[rows] * torch.randn(size)
        t = torch.randint(1000, (size[0],))
        noisy = scheduler.add_noise(clean, noise, t)
        made = unet(noisy, t, states[rows], encoder_attention_mask=masks[rows], return_dict=False)[0]
        F.mse_loss(made, noise).backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.step(unet.parameters())

    return step


def bare(network: Any, said: Condition, size: torch.Size) -> Job:
    """Nothing but forward, backward and a fused AdamW step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    z, t = torch.randn(size), torch.full((size[0],), 500.0)

    def step() -> None:
        network(z, t, said).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def prepared() -> tuple[System, Loop, Condition, torch.Size]:
    """The loop, and the conditions and the latents' shape of one of its batches."""
    system, stage, loop = made()
    batch, _ = stage.batch(0, slice(0, stage.options.batch))
    clean: Tensor = batch["clean"]
    return system, loop, batch["conditions"].encoded["caption"], clean.shape


def jobs() -> dict[str, Job]:
    """A step of both."""
    system, loop, said, size = prepared()
    denoiser = system.recipe.denoiser
    assert denoiser is not None
    arguments = dict(denoiser.parameters)
    unet = twin(network_of(system), arguments)
    return {"ours": ours(loop), "theirs": theirs(unet, said, size, count=2496)}


def overhead(rounds: int = 10) -> float:
    """The share of our step that a bare one would not take."""
    system, loop, said, size = prepared()
    pair: dict[str, Callable[[], object]] = {
        "bare": bare(system.network, said, size),
        "ours": ours(loop),
    }
    return 1 - 1 / statistics.median(ratios(measure(pair, rounds, train=True)))


CASES = (Case("step, width 96, 16x8x8, batch 32", jobs, train=True),)

if __name__ == "__main__":
    main(CASES, __doc__ or "")
    if "--only" not in sys.argv:
        print(f"\nOutside forward, backward and optimizer: {overhead():.1%} of a step.")
