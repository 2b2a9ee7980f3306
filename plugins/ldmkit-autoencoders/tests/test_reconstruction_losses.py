"""Losses and the discriminator: figures a person can check, and the traps that the published code has."""

from __future__ import annotations

import itertools

import lpips
import pytest
import torch
from ldmkit_autoencoders.adversary import PatchAdversarial
from ldmkit_autoencoders.losses import Perceptual, Pixel
from ldmkit_autoencoders.lpips_loss import LPIPS
from safetensors.torch import save_file
from torch import nn

from ldmkit.errors import UserError


def pictures(seed=0, size=64):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_pixel_losses_are_the_weighted_distances():
    a, b = pictures(0), pictures(1)
    torch.testing.assert_close(Pixel(weight=2.0)(a, b), 2 * (a - b).abs())
    torch.testing.assert_close(Pixel(norm="l2")(a, b), (a - b) ** 2)


class Directions(nn.Module):
    """Two maps whose channels point along known directions."""

    def forward(self, image):
        return [image, 5 * image.flip(1)]


def test_perceptual_is_the_squared_distance_of_directions_summed_over_layers():
    x = torch.zeros(1, 3, 4, 4)
    red, green = x.clone(), x.clone()
    red[:, 0], green[:, 1] = 7.0, 0.1
    loss = Perceptual(features=Directions(), weight=0.5)
    assert loss(red, green).shape == (1, 1, 1, 1)
    torch.testing.assert_close(loss(red, green).item(), 0.5 * (2.0 + 2.0))
    torch.testing.assert_close(loss(red, 3 * red).item(), 0.0)


# torchvision's own warnings on how lpips calls it
pytestmark = pytest.mark.filterwarnings("ignore:The parameter 'pretrained'", "ignore:Arguments other than")


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    torch.manual_seed(0)
    network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    weights = {f"features.{n.split('.', 1)[1]}": x.clone() for n, x in network.net.state_dict().items()}
    path = tmp_path_factory.mktemp("trunk") / "alex.safetensors"
    save_file({**weights, "classifier.1.weight": torch.zeros(2, 2)}, path)
    return LPIPS(trunk=path, network="alex", weight=2.0), network


def test_lpips_gives_the_package_s_figures_on_the_given_trunk(trunk):
    mine, network = trunk
    mine.train()
    assert not any(m.training for m in mine.modules())
    assert not any(p.requires_grad for p in mine.parameters())
    a, b = pictures(0), pictures(1)
    torch.testing.assert_close(mine(a, b), 2 * network(a, b), rtol=1e-4, atol=1e-6)


def test_lpips_has_a_finite_gradient_where_all_features_vanish(trunk):
    mine = trunk[0]
    for name, p in mine.network.net.named_parameters():
        if name.endswith("bias"):
            p.data.fill_(-100.0)
    a = pictures(0).requires_grad_()
    mine(a, pictures(1)).sum().backward()
    assert torch.isfinite(a.grad).all()


def test_lpips_says_at_once_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*vgg.pth.*perceptual"):
        LPIPS(trunk=tmp_path / "vgg.pth")
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"is not of alex: lacks features\.0\.bias, features\.10\.bias"):
        LPIPS(trunk=tmp_path / "other.safetensors", network="alex")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UserError, match=r"text\.pth: cannot be read"):
        LPIPS(trunk=tmp_path / "text.pth")


def test_lpips_runs_no_code_of_its_trunk_file(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="cannot be read"):
        LPIPS(trunk=tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_the_discriminator_is_the_published_one():
    network = PatchAdversarial().network
    strides = [(m.out_channels, m.stride[0]) for m in network if isinstance(m, nn.Conv2d)]
    assert strides == [(64, 2), (128, 2), (256, 2), (512, 1), (1, 1)]
    assert sum(p.numel() for p in network.parameters()) == 2_764_737 + 896
    assert network(pictures()).shape == (2, 1, 6, 6)
    first, normed = network[0].weight, network[2].weight
    assert abs(first.std().item() - 0.02) < 2e-3
    assert abs(normed.std().item() - 0.02) < 2e-3
    assert network[2].bias is None
    assert network[0].bias.abs().max() == 0


def test_it_learns_before_it_counts_and_counts_by_a_ramp():
    adversary = PatchAdversarial(start=100, weight=0.8, warmup=40, ramp=4, width=32)
    assert [adversary.trains(n) for n in (59, 60, 100)] == [False, True, True]
    assert [round(adversary.weight(n), 6) for n in (99, 100, 101, 103, 500)] == [0.0, 0.2, 0.4, 0.8, 0.8]
    published = PatchAdversarial(start=100, weight=0.8, warmup=0, ramp=0, width=32)
    assert [published.weight(n) for n in (99, 100)] == [0.0, 0.8]
    assert [published.trains(n) for n in (99, 100)] == [False, True]


@pytest.mark.parametrize("loss", ["hinge", "vanilla"])
def test_losses_by_hand(loss):
    adversary = PatchAdversarial(loss=loss, width=32)
    verdicts = iter([torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])])
    adversary.network.forward = lambda picture: next(verdicts)
    value = adversary.discriminator_loss(pictures(), pictures())
    hinge = 0.5 * ((0 + 2) / 2 + (1.5 + 0) / 2)
    soft = torch.nn.functional.softplus
    logistic = 0.5 * (soft(torch.tensor([-2.0, 1.0])).mean() + soft(torch.tensor([0.5, -3.0])).mean())
    torch.testing.assert_close(value, torch.tensor(hinge) if loss == "hinge" else logistic)


@pytest.mark.parametrize(("loss", "norm"), list(itertools.product(["hinge", "vanilla"], ["batch", "group"])))
def test_the_discriminator_learns_to_tell_sharp_from_blurred(loss, norm):
    torch.manual_seed(0)
    adversary = PatchAdversarial(loss=loss, norm=norm, layers=1, width=32)
    optimizer = torch.optim.Adam(adversary.parameters(), 1e-3)
    sharp = pictures(size=16)
    blurred = nn.functional.avg_pool2d(sharp, 3, 1, 1)
    before = adversary.generator_loss(blurred).item()
    for _ in range(25):
        value = adversary.discriminator_loss(sharp, blurred)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert value.item() < 0.4
    assert adversary.generator_loss(blurred).item() > before + 0.5


def test_a_picture_too_small_for_a_patch_is_refused():
    adversary = PatchAdversarial(width=32)
    assert adversary.network(pictures(size=24)).shape == (2, 1, 1, 1)
    with pytest.raises(ValueError, match="24 pixels a side"):
        adversary.generator_loss(pictures(size=23))
