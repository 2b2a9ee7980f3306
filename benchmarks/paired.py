"""Two ways of doing the same work, measured side by side: alternating rounds in one process, ratios.

A benchmark names its cases and calls `main`. Each case becomes a line: the median of the paired ratios
theirs / ours with the least and the greatest (above 1: ours is faster); for both, which part of the time
the counted operations would take at the rate of a matrix product of the same run; and the memory that the
work takes in a process of its own. Seconds are of the processor, so that other work on the machine counts
little.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

Job = Callable[[], object]
HEAD = """| case | ratio | of the floor, ours | theirs | working memory, ours | theirs |
|-|-|-|-|-|-|"""


@dataclass(frozen=True)
class Case:
    """One piece of work.

    jobs: makes it ready for two sides, ours first. train: it needs gradients. same: how far the two results
    may differ, relative to the largest value, which is checked before anything is measured.
    """

    name: str
    jobs: Callable[[], dict[str, Job]]
    train: bool = False
    same: float | None = None


def measure(jobs: dict[str, Job], rounds: int, train: bool) -> dict[str, list[float]]:
    """Seconds by side, one a round; the order turns from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    with torch.inference_mode(not train):
        for job in jobs.values():
            job()
        for i in range(rounds):
            for name in sorted(jobs, reverse=bool(i % 2)):
                seconds[name].append(seconds_of(jobs[name]))
    return seconds


def seconds_of(job: Job) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    job()
    return time.process_time() - start


def ratios(seconds: dict[str, list[float]]) -> list[float]:
    """The second side's seconds over the first's, round by round."""
    ours, theirs = seconds.values()
    return [b / a for a, b in zip(ours, theirs, strict=True)]


def operations(job: Job, train: bool) -> int:
    """Floating-point operations of convolutions, products and attention, as torch counts them."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode(not train):
        job()
    return int(counter.get_total_flops())


def gemm_rate(n: int = 1024, repeats: int = 5) -> float:
    """Operations a second of a float32 product of n x n matrices: the best of the repeats."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / min(seconds_of(lambda: torch.mm(a, b)) for _ in range(repeats + 1))


def peak_memory(case: int, side: str) -> int:
    """Megabytes that one side's work takes at most."""
    return int(in_fresh_process(str(case), side).splitlines()[-1])


def in_fresh_process(*what: str) -> str:
    """What a fresh process of the same program prints with `--only` and these arguments; what is freed there
    goes back to the system at once."""
    command = [sys.executable, *sys.argv, "--only", *what]
    freeing = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=freeing).stdout


def report(number: int, case: Case, rounds: int) -> str:
    """The line of one case."""
    jobs = case.jobs()
    if case.same is not None:
        agree(jobs, case.same)
    flops = {name: operations(job, case.train) for name, job in jobs.items()}
    seconds = measure(jobs, rounds, case.train)
    rate, found = gemm_rate(), ratios(seconds)
    floor = [f"{flops[name] / rate / statistics.median(s):.0%}" for name, s in seconds.items()]
    memory = [f"{peak_memory(number, side)} MB" for side in jobs]
    ratio = f"{statistics.median(found):.2f}x ({min(found):.2f} to {max(found):.2f})"
    return f"| {' | '.join([case.name, ratio, *floor, *memory])} |"


def agree(jobs: dict[str, Job], tolerance: float) -> None:
    """SystemExit where the two sides do not come to the same."""
    with torch.inference_mode():
        ours, theirs = (torch.as_tensor(job()) for job in jobs.values())
    difference = float((ours - theirs).abs().max() / theirs.abs().max())
    if difference > tolerance:
        raise SystemExit(f"the two differ by {difference:.1e}, more than {tolerance:.0e}")


def main(cases: Sequence[Case], about: str) -> None:
    """Measures every case, or does one side's work once for its memory."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs=2, metavar=("CASE", "SIDE"), help="for its memory")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.only:
        alone(cases[int(given.only[0])], given.only[1])
        return
    print(HEAD, flush=True)
    for number, case in enumerate(cases):
        print(report(number, case, given.rounds), flush=True)


def alone(case: Case, side: str) -> None:
    """One side's work; prints the megabytes that it takes at most."""
    job = case.jobs()[side]
    print(peak_during(job, case.train))


def peak_during(job: Job, train: bool, *, warm: bool = True) -> int:
    """Megabytes that the process holds at most while it works, above what it holds between two calls."""
    with torch.inference_mode(not train):
        if warm:
            job()  # what comes once: imports, the state of an optimizer
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before = held("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
        job()
    return (held("VmHWM") - before) // 1024


def held(figure: str) -> int:
    """Kilobytes by Linux' account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(figure)).split()[1])
