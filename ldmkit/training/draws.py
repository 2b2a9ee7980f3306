"""Random draws that depend on (seed, step, position in the global batch), never on the process that draws."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """A seed that any change of the key changes altogether."""
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
    """The order of examples: an endless row of epochs, each a permutation drawn from (seed, epoch)."""

    def __init__(self, count: int, *key: int | str) -> None:
        self._count = count
        self._epoch = lru_cache(maxsize=2)(lambda epoch: self._permutation(*key, epoch))

    def _permutation(self, *key: int | str) -> Int[Tensor, " n"]:
        return torch.randperm(self._count, generator=generator_of(*key))

    def take(self, start: int, stop: int) -> Int[Tensor, " n"]:
        """The examples at positions start..stop of the row."""
        parts = []
        while start < stop:
            epoch, first = divmod(start, self._count)
            parts.append(self._epoch(epoch)[first : first + stop - start])
            start += len(parts[-1])
        return torch.cat(parts)
