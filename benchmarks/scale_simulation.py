"""Data order, bucket balance and resume of a training on a billion pictures with 512 processes.

    python benchmarks/scale_simulation.py

Counts alone: no picture, no file. What draws is the code that trainings draw with (`ldmkit.training.draws`).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import numpy as np

from ldmkit.pictures import Views
from ldmkit.training.draws import Batches, Order

PICTURES, PROCESSES, BATCH = 1_000_000_000, 512, 8192
SHARES = (0.31, 0.09, 0.12, 0.17, 0.11, 0.13, 0.06999, 0.00001)
"""Of the pictures, in each bucket; the last one holds few."""
LOOKED = 200
"""Steps that all processes draw, at several places of the training."""


def epoch_sees_all(count: int) -> str:
    """A whole epoch of one permutation, in blocks: is each example seen once?"""
    order, seen = Order(count, 0, "diffusion"), np.zeros(count, np.uint8)
    for start in range(0, count, 2**22):
        np.add.at(seen, order.take(start, min(start + 2**22, count)).numpy(), 1)
    assert seen.min() == seen.max() == 1
    return f"{count:,} examples, each once in an epoch"


def counts_of(pictures: int) -> list[int]:
    """The pictures of each bucket."""
    counts = [int(pictures * share) for share in SHARES]
    return [pictures - sum(counts[1:]), *counts[1:]]


def places(batches: Batches, steps: range) -> Iterator[tuple[int, list[list[int]]]]:
    """The bucket of each step, and what each process reads of it."""
    rows = BATCH // PROCESSES
    for step in steps:
        shares = [slice(i * rows, (i + 1) * rows) for i in range(PROCESSES)]
        yield batches.bucket(step), [batches.places(step, share) for share in shares]


def balance(counts: list[int], epochs: int) -> str:
    """Steps of each bucket over epochs against its share of the pictures."""
    batches, steps = Batches(counts, BATCH, 0, "diffusion"), -(-sum(counts) // BATCH)
    served = np.zeros(len(counts))
    for epoch in range(epochs):
        order, _ = batches.epoch(epoch)
        served += np.bincount(order.numpy(), minlength=len(counts))
    exact = np.array(counts) * steps * epochs / sum(counts)
    return (
        f"{len(counts)} buckets, {epochs} epochs of {steps:,} steps: off by {abs(served - exact).max():.2f} "
        f"steps of {served.sum():,.0f} at most"
    )


def work(counts: list[int], shapes: list[tuple[int, int]]) -> str:
    """Pixels of a step, by its bucket: all processes have one shape, so none waits for another."""
    pixels = np.array([width * height for width, height in shapes], float)
    mean = np.average(pixels, weights=counts)
    return f"pixels of a step: {pixels.min() / mean:.3f} to {pixels.max() / mean:.3f} of the mean"


def resumes(counts: list[int]) -> str:
    """A process that begins late draws what one that never stopped draws, for any number of processes."""
    steps = -(-sum(counts) // BATCH)
    worst = 0.0
    for first in (0, 3 * steps + 12_345):
        whole = Batches(counts, BATCH, 0, "diffusion")
        expected = whole.places(first, slice(0, BATCH))
        began = time.process_time()
        late = Batches(counts, BATCH, 0, "diffusion")
        found = late.places(first, slice(0, BATCH // PROCESSES))
        worst = max(worst, time.process_time() - began)
        together = [p for share in next(places(late, range(first, first + 1)))[1] for p in share]
        assert expected == together
        assert found == expected[: len(found)]
    return f"resume at any step: the same draws, {worst:.2f} s of a processor to the first step"


def rate(counts: list[int]) -> str:
    """Processor time of drawing a step's examples."""
    batches = Batches(counts, BATCH, 0, "diffusion")
    batches.bucket(0)
    began = time.process_time()
    for step in range(LOOKED):
        batches.places(step, slice(0, BATCH // PROCESSES))
    each = (time.process_time() - began) / LOOKED
    return f"drawing takes {each * 1e3:.2f} ms a step and process"


def main() -> None:
    """Runs every part and prints its line."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    began = time.process_time()
    counts = counts_of(PICTURES)
    shapes = list(Views(512, crop="buckets", bucket_step=64).shapes)
    print(epoch_sees_all(5_000_011), flush=True)
    print(balance(counts, epochs=3), flush=True)
    print(work(counts[: len(shapes)], shapes), flush=True)
    print(resumes(counts), flush=True)
    print(rate(counts), flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.process_time() - began:.0f} s of a processor, {memory:.0f} MB at most, libraries included")


if __name__ == "__main__":
    main()
