"""Our 3x3 convolution beside torch's, above and below the size at which its path changes."""

from __future__ import annotations

import pytest
import torch
from ldmkit_unet.conv import Conv3x3
from torch.nn import functional as F


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 3), (4, 4), (5, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_figures_and_gradients_are_those_of_a_convolution(size, layout):
    torch.manual_seed(0)
    conv = Conv3x3(8, 6).double()
    h = torch.randn(3, 8, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    parts = (h, conv.weight, conv.bias)
    expected = F.conv2d(h, conv.weight.permute(0, 3, 1, 2), conv.bias, padding=1)
    given = conv(h)
    torch.testing.assert_close(given, expected)
    towards = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(given, parts, towards), torch.autograd.grad(expected, parts, towards), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_frozen_weights_still_pass_a_gradient_on():
    conv = Conv3x3(8, 6).requires_grad_(False)
    h = torch.randn(1, 8, 2, 2, requires_grad=True)
    conv(h).sum().backward()
    assert h.grad.any()
    assert conv.weight.grad is None
