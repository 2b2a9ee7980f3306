from __future__ import annotations

import pytest
import torch
from ldmkit_training.alignment import Alignment
from torch import nn
from torch.nn import functional as F

from ldmkit.testing.training import check_auxiliary
from ldmkit.types import Level

LEVEL = Level(torch.tensor(0.8), torch.tensor(0.6), torch.tensor(300.0))


class Network(nn.Module):
    """Means of patches, with a statistic that must not train."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([[1.0], [2.0], [-1.0]]).view(1, 3, 1, 1))

    def forward(self, image):
        return [self.gain * F.avg_pool2d(image, 4), self.gain * F.avg_pool2d(image, 8)]


def pictures(count: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("shape", [(2, 6, 4, 4), (2, 6, 2, 2), (2, 6, 8, 8), (2, 16, 6)])
@pytest.mark.parametrize("manifold", [0.0, 1.0])
def test_maps_and_tokens_of_any_grid_keep_the_contract(shape, manifold):
    auxiliary = Alignment(layer="middle", features=Network(), width=8, manifold=manifold)
    check_auxiliary(auxiliary, {"middle": torch.randn(shape)}, pictures())
    assert not any(p.requires_grad for p in auxiliary.features.parameters())


def test_the_loss_is_one_minus_the_mean_cosine():
    auxiliary = Alignment(layer="middle", features=Network(), weight=0.5)
    auxiliary.head = nn.Identity()
    image = pictures()
    target = Network()(image)[-1].detach()
    aligned = auxiliary({"middle": 7 * target}, image, LEVEL)
    torch.testing.assert_close(aligned, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(auxiliary({"middle": -target}, image, LEVEL), torch.ones(2))
    other = torch.randn_like(target)
    expected = 0.5 * (1 - F.cosine_similarity(other, target, dim=1).mean((1, 2)))
    torch.testing.assert_close(auxiliary({"middle": other}, image, LEVEL), expected)


def test_the_manifold_term_compares_the_similarities_of_positions():
    auxiliary = Alignment(layer="middle", features=Network(), weight=1.0, manifold=2.0)
    auxiliary.head = nn.Identity()
    image = pictures()
    target = Network()(image)[-1].detach()
    turned = target[:, [1, 2, 0]]  # other channels, so no alignment, but the same similarities
    plain = 1 - F.cosine_similarity(turned, target, dim=1).mean((1, 2))
    torch.testing.assert_close(auxiliary({"middle": turned}, image, LEVEL), plain)
    other = torch.randn_like(target)
    a, b = (F.normalize(x, dim=1).flatten(2) for x in (other, target))
    differences = torch.einsum("bki,bkj->bij", a, a) - torch.einsum("bki,bkj->bij", b, b)
    expected = (
        1 - F.cosine_similarity(other, target, dim=1).mean((1, 2)) + 2 * differences.pow(2).mean((1, 2))
    )
    torch.testing.assert_close(auxiliary({"middle": other}, image, LEVEL), expected)


def test_tokens_of_a_wide_picture_lie_on_a_wide_grid():
    auxiliary = Alignment(layer="blocks", features=Network())
    auxiliary.head = nn.Identity()
    image = torch.rand(1, 3, 16, 64)
    target = Network()(image)[-1].detach()  # 2 x 8
    loss = auxiliary({"blocks": target.flatten(2).transpose(1, 2)}, image, LEVEL)
    torch.testing.assert_close(loss, torch.zeros(1), atol=1e-6, rtol=0)


def test_a_feature_map_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="level 2: the network has 2 feature maps"):
        Alignment(layer="middle", features=Network(), level=2)
