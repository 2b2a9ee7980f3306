"""Memory limits: a model that is too large is refused while it is built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from ldmkit.disk import size
from ldmkit.errors import UserError

MODULES = 10_000
"""Modules that a system may have; the largest published models have some thousands."""
CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of main memory that this process may still take, the container's limit included."""
    free: int = psutil.virtual_memory().available
    try:
        limit, used = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no such limit
        return free


def whole_memory() -> int:
    """Bytes of memory that models and trainings have on this machine: the accelerator's where there is one,
    else the main memory, the container's limit included."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    whole: int = psutil.virtual_memory().total
    try:
        return min(whole, int((CGROUP / "memory.max").read_text()))
    except (OSError, ValueError):  # no such limit
        return whole


@contextmanager
def bounded(name: str) -> Iterator[None]:
    """Within, modules that are built count: UserError once their tensors exceed the memory that is free, or
    there are more than MODULES of them. Tensors on the "meta" device take none. name: the recipe's."""
    counted = _Count(name, free_memory())
    handles = [
        register_module_parameter_registration_hook(counted.tensor),
        register_module_buffer_registration_hook(counted.tensor),
        register_module_module_registration_hook(counted.module),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Count:
    """Counts the bytes and modules of a system while it is built."""

    def __init__(self, name: str, free: int) -> None:
        self._name, self._free, self._bytes, self._modules = name, free, 0, 0

    def tensor(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is None or tensor.is_meta:
            return
        self._bytes += tensor.nbytes
        if self._bytes > self._free:
            raise UserError(
                f"recipe '{self._name}': its models take more than {size(self._bytes)} of memory, and "
                f"{size(self._free)} are free; make them smaller (`ldmkit check` says how large they are)"
            )

    def module(self, module: nn.Module, name: str, inner: Any) -> None:
        self._modules += 1
        if self._modules > MODULES:
            raise UserError(
                f"recipe '{self._name}': its models have over {MODULES:,} modules: give them fewer layers"
            )
