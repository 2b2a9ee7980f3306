"""Tensors that processes hold parts of (torch's DTensor): the whole, the part, figures of all parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

from ldmkit.training.collectives import sum_over_processes


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor of which each process holds a part; called by all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part, a view of the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has whole, shared out as `like` is: nothing is sent."""
    if not isinstance(like, DTensor):
        return value
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """The whole tensors, one after another, in the main memory where they were shared out; by all processes.
    Nothing where a process has no use for them (`keep` is False)."""
    wholes: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = whole(tensor)
        if keep:
            wholes[name] = value if value is tensor else value.cpu()
    return wholes


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients, shared out or not; of the first's kind, as clipping needs it."""
    norm = torch.nn.utils.get_total_norm([local(g) for g in gradients]).detach()
    shared = next((g for g in gradients if isinstance(g, DTensor)), None)
    if shared is None:
        return norm
    (squares,) = sum_over_processes([float(norm) ** 2])
    norm = torch.tensor(squares, device=norm.device).sqrt().to(norm.dtype)
    return DTensor.from_local(norm, shared.device_mesh, [Replicate()], run_check=False)
