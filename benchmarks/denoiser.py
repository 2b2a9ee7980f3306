"""The UNet beside diffusers' with the same weights: one process, alternating rounds, ratios.

    python benchmarks/denoiser.py [--rounds 10] [--threads 1]

Each line gives milliseconds of processor time of both (the median of the rounds), so that other work on the
machine counts little; the median of the paired ratios theirs / ours (above 1: ours is faster); and for both
which part of the time the counted operations would take at the rate of a matrix product of the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from ldmkit_unet.diffusers import DiffusersUNet
from ldmkit_unet.unet import UNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ldmkit.types import Condition, ConditionSpec, LatentSpec

TOKENS, LENGTH = 384, 24


@dataclass(frozen=True)
class Case:
    """One configuration and batch; `train`: a training step, else a network pass for sampling."""

    name: str
    channels: int
    size: int
    batch: int
    width: int
    multipliers: tuple[int, ...]
    train: bool


CASES = (
    Case("pass, width 64, 32x32, batch 8", 4, 32, 8, 64, (1, 2, 4), train=False),
    Case("pass, width 96, 8x8, batch 32", 8, 8, 32, 96, (1, 2, 3), train=False),
    Case("training step, width 96, 8x8, batch 32", 8, 8, 32, 96, (1, 2, 3), train=True),
)


def pair(case: Case) -> tuple[UNet, Any]:
    """Our UNet and diffusers' with its weights, none of them zero."""
    torch.manual_seed(0)
    spec, latent = ConditionSpec((), tokens=TOKENS), LatentSpec(case.channels, 8)
    attention = tuple(2**level for level in range(len(case.multipliers)))
    ours = UNet(
        latent,
        spec,
        case.channels,
        width=case.width,
        multipliers=case.multipliers,
        attention=attention,
    )
    for parameter in ours.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    keymap = DiffusersUNet()
    arguments = {"latent": latent, "conditions": spec, "out_channels": case.channels, "width": case.width}
    arguments |= {"multipliers": case.multipliers, "attention": attention}
    theirs: Any = UNet2DConditionModel.from_config(keymap.config(arguments))
    theirs.load_state_dict(keymap.save(ours))
    return ours, theirs


def jobs(case: Case) -> dict[str, Callable[[], Tensor]]:
    """The same work for both, by name."""
    ours, theirs = pair(case)
    z = torch.randn(case.batch, case.channels, case.size, case.size)
    steps = torch.linspace(0, 999, case.batch).round()
    tokens = torch.randn(case.batch, LENGTH, TOKENS)
    condition = Condition(tokens=tokens)

    def their_pass() -> Tensor:
        return theirs(z, steps, tokens, return_dict=False)[0]

    if not case.train:
        bound = ours.eval().bind(condition)
        theirs.eval()
        return {"ours": lambda: bound(z, steps), "theirs": their_pass}
    target = torch.randn_like(z)
    return {
        "ours": training_step(ours, lambda: ours(z, steps, condition), target),
        "theirs": training_step(theirs, their_pass, target),
    }


def training_step(model: nn.Module, output: Callable[[], Tensor], target: Tensor) -> Callable[[], Tensor]:
    """Forward, backward and a fused AdamW step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = (output() - target).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def measure(work: dict[str, Callable[[], Tensor]], rounds: int, train: bool) -> dict[str, list[float]]:
    """Seconds by name, one a round; the order turns from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    with torch.inference_mode(not train):
        for job in work.values():
            job()
        for i in range(rounds):
            for name in sorted(work, reverse=bool(i % 2)):
                start = time.process_time()
                work[name]()
                seconds[name].append(time.process_time() - start)
    return seconds


def operations(job: Callable[[], Tensor], train: bool) -> int:
    """Floating-point operations of convolutions, products and attention, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode(not train):
        job()
    return int(counter.get_total_flops())


def gemm_rate(n: int = 1024, repeats: int = 5) -> float:
    """Operations a second of a float32 product of n x n matrices: the best of the repeats."""
    a, b = torch.randn(n, n), torch.randn(n, n)

    def once() -> float:
        start = time.process_time()
        torch.mm(a, b)
        return time.process_time() - start

    return 2 * n**3 / min(once() for _ in range(repeats + 1))


def report(case: Case, rounds: int) -> Iterator[str]:
    """The lines of one case."""
    work = jobs(case)
    flops = {name: operations(job, case.train) for name, job in work.items()}
    seconds = measure(work, rounds, case.train)
    rate = gemm_rate()
    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["theirs"], strict=True)]
    yield f"{case.name}: {statistics.median(ratios):.2f}x (from {min(ratios):.2f} to {max(ratios):.2f})"
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        part = flops[name] / rate / middle
        yield f"  {name:>6}: {middle * 1e3:7.0f} ms, of which {part:.0%} at {rate / 1e9:.0f} GFLOP/s"


def main() -> None:
    """Measures every case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for case in CASES:
        for line in report(case, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
