"""Tiles: they cover, they blend without seams, and they need less memory than the whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from ldmkit_autoencoders.identity import Identity
from ldmkit_autoencoders.kl import KLAutoencoder

from ldmkit.engine.tiling import pixels, ramps, spans_of, tiled_decode, tiled_encode


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return KLAutoencoder(factor=4, channels=3, width=32, blocks=1).eval()


@pytest.mark.parametrize("side", [1, 63, 64, 65, 100, 129, 1000])
def test_tiles_cover_a_side_and_their_weights_sum_to_one(side):
    spans = spans_of(side, 64, 16)
    assert spans[0][0] == 0
    assert sum(spans[-1]) == side
    assert all(length <= 64 for _, length in spans)
    assert all(a + n - b >= 16 for (a, n), (b, _) in pairwise(spans))
    total = torch.zeros(2 * side)
    for span, weight in zip(spans, ramps(spans, 2), strict=True):
        assert (weight > 0).all()
        total[pixels(span, 2)] += weight
    torch.testing.assert_close(total, torch.ones(2 * side))


@torch.no_grad()
def test_the_identity_in_tiles_is_the_identity():
    picture = torch.rand(2, 3, 50, 83)
    latent = tiled_encode(Identity(), picture, tile=20, overlap=6)
    torch.testing.assert_close(latent, picture)
    torch.testing.assert_close(tiled_decode(Identity(), picture, tile=20, overlap=6), picture)


@torch.no_grad()
def test_a_picture_of_one_tile_is_the_same_to_the_bit(model):
    picture = torch.rand(1, 3, 64, 32)
    assert torch.equal(tiled_encode(model, picture, tile=64, overlap=16), model.encode(picture))


@torch.no_grad()
def test_tiles_are_near_the_whole_and_leave_no_seam(model):
    picture = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 16) * 2 - 1, size=(96, 128), mode="bicubic"
    )
    whole = model.encode(picture)
    latent = tiled_encode(model, picture, tile=64, overlap=32)
    assert latent.shape == whole.shape
    assert (latent - whole).norm() / whole.norm() < 0.3
    painted, tiled = model.decode(whole), tiled_decode(model, whole, tile=64, overlap=32)
    assert tiled.shape == picture.shape
    jump = (tiled - painted).diff(dim=-1).abs().mean((0, 1, 2))
    assert jump.max() < 8 * jump.median()


def test_impossible_tiles_are_refused(model):
    picture = torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match="multiples of the factor, 4"):
        tiled_encode(model, picture, tile=30, overlap=8)
    with pytest.raises(ValueError, match="at most half"):
        tiled_decode(model, torch.rand(1, 3, 16, 16), tile=32, overlap=20)
    with pytest.raises(ValueError, match="66 x 64 is no multiple of factor 4"):
        tiled_encode(model, torch.rand(1, 3, 66, 64), tile=32, overlap=8)
