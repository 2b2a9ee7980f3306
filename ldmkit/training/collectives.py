"""All-reduce helpers for the processes of a training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def place() -> tuple[int, int]:
    """This process's rank, and the number of processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def mean_over_processes(tensor: Tensor) -> Tensor:
    """The mean over processes; the tensor itself where there is one process."""
    _, count = place()
    if count == 1:
        return tensor
    tensor = tensor.clone()
    dist.all_reduce(tensor)
    return tensor / count


def sum_over_processes(values: list[float]) -> list[float]:
    """Sums of a few figures over processes."""
    if place()[1] == 1:
        return values
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()
