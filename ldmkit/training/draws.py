"""Random draws that depend on (seed, step, position in the global batch), never on the process that draws."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np
import torch
from jaxtyping import Int, UInt64
from torch import Tensor

LISTED = 2**22
"""Examples up to which the permutation of an epoch is listed: 32 MB."""
ROUNDS = 6
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, are spread evenly: what an epoch's rounding takes from a bucket, others give."""


def seed_of(*key: int | str) -> int:
    """A seed derived from the key by a hash: other keys give unrelated seeds."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:7])


def generator_of(*key: int | str) -> torch.Generator:
    """A CPU generator of its own for the key: what it draws is the same on every device and process."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_modules(seed: int, device: torch.device) -> None:
    """Seeds the generators that dropout draws from: the CPU's and the device's.

    Not torch.manual_seed, which on a machine without accelerators queues three calls, tracebacks and all.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


class Order:
    """The order of examples: an endless sequence of epochs, each a permutation drawn from (seed, epoch).

    Of more than `LISTED` examples no permutation is listed: a keyed bijection gives each place of it, so that
    neither memory nor a resume depends on their number.
    """

    def __init__(self, count: int, *key: int | str) -> None:
        self._count, self._key = count, key
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> Int[Tensor, " n"]:
        return torch.randperm(self._count, generator=generator_of(*self._key, epoch))

    def _places(self, epoch: int, first: int, stop: int) -> Int[Tensor, " n"]:
        if self._count <= LISTED:
            return self._epoch(epoch)[first:stop]
        places = np.arange(first, min(stop, self._count), dtype=np.uint64)
        return torch.from_numpy(shuffled(places, self._count, seed_of(*self._key, epoch)).astype(np.int64))

    def take(self, start: int, stop: int) -> Int[Tensor, " n"]:
        """The examples at positions start to stop of the sequence."""
        parts = []
        while start < stop:
            epoch, first = divmod(start, self._count)
            parts.append(self._places(epoch, first, first + stop - start))
            start += len(parts[-1])
        return torch.cat(parts)


def shuffled(places: UInt64[np.ndarray, " n"], count: int, seed: int) -> UInt64[np.ndarray, " n"]:
    """Where a permutation of 0..count-1, drawn by `seed`, puts some places; each is computed by itself.

    A Feistel network over the least even number of bits that holds `count`, applied again to what falls
    outside (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains").
    """
    half = np.uint64((max(count - 1, 1).bit_length() + 1) // 2)
    order = _rounds(places, half, seed)
    while (outside := order >= count).any():
        order[outside] = _rounds(order[outside], half, seed)
    return order


def _rounds(x: UInt64[np.ndarray, " n"], half: np.uint64, seed: int) -> UInt64[np.ndarray, " n"]:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for i in range(ROUNDS):
        left, right = right, left ^ (_mixed(right ^ np.uint64(seed_of(seed, i))) & mask)
    return (left << half) | right


def _mixed(x: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The finaliser of MurmurHash3."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ (x >> np.uint64(33))) * np.uint64(factor)
    return x ^ (x >> np.uint64(33))


class Batches:
    """Which examples a step sees, all of one shape: a bucket, and places in it.

    An epoch has as many steps as fill it; each bucket gets its share of them by systematic sampling, so that
    over epochs every bucket is seen in proportion to its size, and their order is drawn from (seed, epoch). A
    bucket's own examples come in the `Order` of its own. With one bucket this is `Order` itself.
    """

    def __init__(self, counts: Sequence[int], batch: int, *key: int | str) -> None:
        """counts: the number of examples of each bucket."""
        self._counts, self._batch, self._key = counts, batch, key
        self._total, self._steps = sum(counts), -(-sum(counts) // batch)
        own = [key] if len(counts) == 1 else [(*key, "bucket", i) for i in range(len(counts))]
        self._orders = [Order(count, *k) for count, k in zip(counts, own, strict=True)]
        self._epoch = lru_cache(maxsize=2)(self._drawn)

    def bucket(self, step: int) -> int:
        """The bucket of a step's examples."""
        if len(self._counts) == 1:
            return 0
        epoch, place = divmod(step, self._steps)
        return int(self.epoch(epoch)[0][place])

    def places(self, step: int, rows: slice) -> list[int]:
        """The places in the step's bucket of some rows of its batch."""
        first = self._served(step) * self._batch
        return self._orders[self.bucket(step)].take(first + rows.start, first + rows.stop).tolist()

    def _served(self, step: int) -> int:
        """How many steps before this one drew from its bucket."""
        if len(self._counts) == 1:
            return step
        epoch, place = divmod(step, self._steps)
        order, before = self.epoch(epoch)
        return int(before[order[place]] + (order[:place] == order[place]).sum())

    def epoch(self, epoch: int) -> tuple[Int[Tensor, " n"], list[int]]:
        """The bucket of each step of an epoch, and the steps that each bucket had before it."""
        return self._epoch(epoch)

    def _drawn(self, epoch: int) -> tuple[Int[Tensor, " n"], list[int]]:
        before = [sum(column) for column in zip(*map(self._shares, range(epoch)), strict=True)]
        shares = torch.tensor(self._shares(epoch))
        order = torch.arange(len(self._counts)).repeat_interleave(shares)
        shuffle = torch.randperm(self._steps, generator=generator_of(*self._key, "buckets", epoch))
        return order[shuffle], before or [0] * len(self._counts)

    def _shares(self, epoch: int) -> list[int]:
        """The steps of each bucket in an epoch: how many of the marks offset, offset + 1, ... fall into its
        part of the line from 0 to the number of steps. Whole numbers, in units of 1 / number of examples."""
        offset = (seed_of(*self._key, "offset") + epoch * int(self._total * GOLDEN)) % self._total
        ends = [0, *accumulate(self._counts)]
        marks = [-((offset - self._steps * end) // self._total) for end in ends]
        return [after - before for before, after in pairwise(marks)]
