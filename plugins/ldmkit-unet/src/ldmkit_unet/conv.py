"""3x3 convolutions with channels-last weights.

On a CPU, small maps are trained by im2col and one matrix product. Convolution kernels would spend most of
their time on reordering the weights, which are larger than the map; the matrix product reads them in place.
The gain is largest for the gradient of the weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

FEW_POSITIONS = 16
"""Maps up to 4x4 are trained on as a product; above, convolution kernels are as fast."""


class Conv3x3(nn.Module):
    """A 3x3 convolution with padding 1; its weight is "m 3 3 k" for k channels in and m out."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(out_channels, 3, 3, channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        bound = 1 / math.sqrt(9 * channels)  # as torch's convolutions begin
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, h: Float[Tensor, "b k i j"]) -> Float[Tensor, "b m i j"]:
        """The convolved map, of the same size, or half of it at stride 2."""
        few = h.shape[2:].numel() <= FEW_POSITIONS and self.stride == 1
        if few and h.device.type == "cpu" and torch.is_grad_enabled():
            convolved: Tensor = _SmallMap.apply(h, self.weight, self.bias)
            return convolved
        return F.conv2d(h, self.weight.permute(0, 3, 1, 2), self.bias, self.stride, padding=1)


class _SmallMap(torch.autograd.Function):
    """The convolution as patches times weights; only the gradient of the map is left to the kernel."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        b, _, i, j = h.shape
        return torch.addmm(bias, _patches(h), weight.flatten(1).T).view(b, i, j, -1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        h, weight = ctx.saved_tensors
        rows = grad.permute(0, 2, 3, 1).flatten(0, 2)
        grad_h = None
        if ctx.needs_input_grad[0]:
            grad_h = conv2d_input(h.shape, weight.permute(0, 3, 1, 2), grad, padding=1)
        return grad_h, (rows.T @ _patches(h)).view_as(weight), rows.sum(0)


def _patches(h: Float[Tensor, "b k i j"]) -> Float[Tensor, "n p"]:
    """The 3x3 surroundings of every position, in the order of a weight's "3 3 k"."""
    patches = F.pad(h, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
    return patches.permute(0, 2, 3, 4, 5, 1).reshape(-1, 9 * h.shape[1])
