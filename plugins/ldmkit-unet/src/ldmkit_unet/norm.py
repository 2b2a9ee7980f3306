"""Group normalization of maps whose channels come last in memory (Wu and He 2018, equations 1 to 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GROUPS = 32
SLOW_POSITIONS = range(32, 1024)
"""Positions of a map for which torch's kernel on a CPU goes through it group by group."""
FEW_CHANNELS = 8
"""Channels of a group below which that kernel computes number by number."""


class Norm(nn.GroupNorm):
    """GroupNorm of 32 groups, of a single number a group too, which is its own mean.

    On a CPU, small maps in bfloat16 are normed in float32: torch's kernel takes three times as long in
    bfloat16 as in float32 with both conversions. The result is the same, since it computes in float32 too.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(GROUPS, channels, eps=eps)

    def forward(self, input: Tensor) -> Tensor:
        """The normalized map, of the type of `input`."""
        small = input.device.type == "cpu" and input.shape[2:].numel() < SLOW_POSITIONS.stop
        if small and input.dtype == torch.bfloat16 and self.weight.dtype == torch.float32:
            return self._normed(input.float()).to(input.dtype)
        return self._normed(input)

    def _normed(self, h: Tensor) -> Tensor:
        if self._is_slow(h):
            return self._by_channels(h)
        return torch.group_norm(h, self.num_groups, self.weight, self.bias, self.eps)

    def _is_slow(self, h: Tensor) -> bool:
        """Whether torch's kernel is slow on such a map. Gradients, compilers and exports take the kernel."""
        return (
            h.shape[2:].numel() in SLOW_POSITIONS
            and h.shape[1] < FEW_CHANNELS * GROUPS
            and h.device.type == "cpu"
            and h.dtype == torch.float32
            and h.is_contiguous(memory_format=torch.channels_last)
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
        )

    def _by_channels(self, h: Tensor) -> Tensor:
        """The same by operations on all channels of a position at once: on vectors."""
        centered = h - self._group_mean(h).expand(-1, -1, h.shape[1] // GROUPS).reshape(*h.shape[:2], 1, 1)
        deviation = (self._group_mean(centered.square()) + self.eps).rsqrt()
        scale = (deviation * self.weight.view(GROUPS, -1)).view(*h.shape[:2], 1, 1)
        return torch.addcmul(self.bias.view(-1, 1, 1), centered, scale)

    def _group_mean(self, h: Tensor) -> Tensor:
        """The mean of each picture's groups, "b g 1"."""
        return h.mean((2, 3)).view(len(h), GROUPS, -1).mean(2, keepdim=True)
