"""Twenty guided DDIM steps beside diffusers' pipeline loop with the same weights.

    python benchmarks/sampling.py [--rounds 10] [--threads 1]

Ours is `System.sample_latent` as a user calls it; theirs `UNet2DConditionModel` and `DDIMScheduler` in
inference mode, with the conditioned and the unconditioned half in one batch. Both start from the same noise
and end on the same latent, which is checked first. The last lines are ours alone: what is spent outside the
network, and what guiding half of the steps saves.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import DDIMScheduler
from paired import Case, Job, main, measure, ratios
from torch import Tensor
from twins import condition, network_of, system_of, twin

from ldmkit.engine.system import System
from ldmkit.types import Condition

STEPS, SCALE = 20, 3.0
SMALL = {"name": "unet", "width": 96, "multipliers": [1, 1, 2], "blocks": 1, "attention": [1, 2]}
LARGE = {"name": "unet", "width": 64, "multipliers": [1, 2, 4], "attention": [1, 2, 4]}
KL = {"name": "kl-autoencoder", "factor": 8, "width": 32}


def setting(denoiser: dict[str, Any], channels: int, size: int) -> System:
    """An untrained system for latents of channels x size x size."""
    return system_of(denoiser, {**KL, "channels": channels}, 8 * size)


def ours(system: System, noise: Tensor, said: Condition, null: Condition, **options: Any) -> Job:
    """Our sampling."""
    wanted, other = {"caption": said}, {"caption": null}
    return lambda: system.sample_latent(wanted, noise=noise, null=other, **options)


def theirs(unet: Any, noise: Tensor, said: Condition, null: Condition) -> Job:
    """The same by diffusers' parts."""
    scheduler: Any = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )
    assert null.tokens is not None
    assert said.tokens is not None
    tokens = torch.cat([null.tokens, said.tokens])

    def sample() -> Tensor:
        scheduler.set_timesteps(STEPS)
        z = noise
        for t in scheduler.timesteps:
            blind, led = unet(torch.cat([z, z]), t, tokens, return_dict=False)[0].chunk(2)
            z = scheduler.step(blind + SCALE * (led - blind), t, z, return_dict=False)[0]
        return z

    return sample


def jobs(denoiser: dict[str, Any], channels: int, size: int, batch: int) -> dict[str, Job]:
    """The same sampling by both."""
    system = setting(denoiser, channels, size)
    noise, said, null = torch.randn(batch, channels, size, size), condition(batch), condition(batch)
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in denoiser.items() if k != "name"}
    unet = twin(network_of(system), arguments).eval()
    return {"ours": ours(system, noise, said, null), "theirs": theirs(unet, noise, said, null)}


def outside(system: System, run: Job, rounds: int) -> float:
    """The share of a run's time that is not spent inside the network, the median of the rounds."""
    spent = [0.0]
    bind = system.network.bind

    def timed(said: Condition) -> Callable[..., Tensor]:
        inner = timing(bind, spent)(said)
        return timing(inner, spent)

    system.network.bind = timed  # type: ignore[method-assign, assignment]
    shares = []
    for _ in range(rounds):
        spent[0], start = 0.0, time.process_time()
        run()
        shares.append(1 - spent[0] / (time.process_time() - start))
    system.network.bind = bind  # type: ignore[method-assign]
    return statistics.median(shares)


def timing(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The function, its time added up."""

    def timed(*given: Any) -> Any:
        start = time.process_time()
        made = function(*given)
        spent[0] += time.process_time() - start
        return made

    return timed


def alone(rounds: int = 5) -> None:
    """What is ours alone: overhead, and guidance in half of the steps."""
    system = setting(SMALL, 16, 8)
    noise, said, null = torch.randn(8, 16, 8, 8), condition(8), condition(8)
    full = ours(system, noise, said, null)
    levels = system.schedule.level(torch.arange(1, 1000, 50) / 999)
    middle = sorted(float(s / a) for s, a in zip(levels.sigma, levels.alpha, strict=True))[STEPS // 2 - 1 :][
        :2
    ]
    half = [{"name": "classifier-free", "scale": SCALE, "interval": [0.0, sum(middle) / 2]}]
    with torch.inference_mode():
        print(f"\nOutside the network: {outside(system, full, rounds):.1%} of sampling.")
    pair = {"half": ours(system, noise, said, null, guidance=half), "full": full}
    print(f"Guidance in half of the steps: {statistics.median(ratios(measure(pair, rounds, False))):.2f}x.")


CASES = (
    Case("20 steps, width 96, 16x8x8, batch 8", partial(jobs, SMALL, 16, 8, 8), same=1e-4),
    Case("20 steps, width 64, 4x32x32, batch 2", partial(jobs, LARGE, 4, 32, 2), same=1e-4),
)

if __name__ == "__main__":
    main(CASES, __doc__ or "")
    if "--only" not in sys.argv:
        alone()
