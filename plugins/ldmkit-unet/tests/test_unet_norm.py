"""Our norm of maps beside its definition in double precision, where its path changes."""

from __future__ import annotations

import pytest
import torch
from ldmkit_unet.norm import Norm
from torch import nn
from torch.nn import functional as F


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (16, 32), (32, 32)])
def test_maps_in_bfloat16_are_normed_as_in_double_precision(size):
    torch.manual_seed(0)
    norm = Norm(64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    h = torch.randn(2, 64, *size).bfloat16().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        normed = norm(h)
    expected = F.group_norm(h.double(), 32, norm.weight.double(), norm.bias.double(), norm.eps)
    assert normed.dtype == torch.bfloat16
    assert normed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(normed.double(), expected, rtol=2**-8, atol=1e-5)


def test_weights_in_bfloat16_take_maps_of_that_type():
    normed = Norm(32).bfloat16()(torch.randn(2, 32, 8, 8).bfloat16())
    assert normed.dtype == torch.bfloat16


@pytest.mark.parametrize("channels", [32, 96, 256])
@pytest.mark.parametrize("size", [(2, 2), (4, 8), (8, 8), (16, 16)])
def test_maps_are_normed_as_in_double_precision_with_gradients_and_without(channels, size):
    torch.manual_seed(0)
    norm = Norm(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    h = (torch.randn(3, channels, *size) + 2).to(memory_format=torch.channels_last)
    kept = h.clone()
    expected = F.group_norm(h.double(), 32, norm.weight.double(), norm.bias.double(), norm.eps)
    with torch.no_grad():
        for given in (h, h.contiguous()):
            torch.testing.assert_close(norm(given).double(), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(norm(h).double(), expected, rtol=0, atol=2e-5)
    assert torch.equal(h, kept)
