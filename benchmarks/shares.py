"""Where the time of a guided sampling and of a training step goes, ours and diffusers', by sort of operation.

    python benchmarks/shares.py [--calls 5] [--threads 1]

The small cases of `sampling.py` and `denoiser.py` under torch's profiler: each operation's own time,
by the clock, on a machine that should do nothing else. Both columns are in units of our whole time.
"""

from __future__ import annotations

from collections.abc import Mapping

import click
import denoiser
import sampling
import torch
from paired import Job
from torch.profiler import ProfilerActivity, profile

SORTS: Mapping[str, tuple[str, ...]] = {
    "convolutions": ("convolution", "conv2d"),
    "matrix products": ("addmm", "mm", "bmm", "linear"),
    "attention": ("attention",),
    "norms": ("norm",),
    "SiLU, GELU": ("silu", "gelu"),
    "optimizer": ("adam",),
}
"""By what an operation's name holds; the first that fits."""


def sort_of(name: str) -> str:
    """The sort of an operation by its name."""
    return next((sort for sort, words in SORTS.items() if any(w in name for w in words)), "all else")


def times(job: Job, calls: int, train: bool) -> dict[str, float]:
    """Microseconds by sort."""
    with torch.inference_mode(not train):
        job()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(calls):
                job()
    found: dict[str, float] = {}
    for event in seen.key_averages():
        sort = sort_of(event.key)
        found[sort] = found.get(sort, 0.0) + event.self_cpu_time_total
    return found


def show(title: str, jobs: Mapping[str, Job], calls: int, train: bool) -> None:
    """A line a sort: shares of our whole time."""
    found = {side: times(job, calls, train) for side, job in jobs.items()}
    whole = sum(found["ours"].values())
    print(f"| {title} | ours | theirs |\n|-|-|-|")
    for sort in [*SORTS, "all else"]:
        shares = [found[side].get(sort, 0.0) / whole for side in ("ours", "theirs")]
        if any(shares):
            print(f"| {sort} | {shares[0]:.1%} | {shares[1]:.1%} |")
    print(f"| together | 100% | {sum(found['theirs'].values()) / whole:.1%} |\n", flush=True)


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--calls", default=5)
@click.option("--threads", default=1)
def main(calls: int, threads: int) -> None:
    """Two tables."""
    torch.set_num_threads(threads)
    show("20 guided steps, 16x8x8, batch 8", sampling.jobs(sampling.SMALL, 16, 8, 8), calls, train=False)
    jobs = denoiser.jobs(denoiser.SMALL, 8, 8, 32, True)
    show("training step, 8x8x8, batch 32", jobs, calls, train=True)


if __name__ == "__main__":
    main()
