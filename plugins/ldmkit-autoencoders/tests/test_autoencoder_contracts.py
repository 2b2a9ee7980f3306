"""Every component of this distribution keeps its kind's contract; so does a regulariser of a stranger."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldmkit.host.plugins import host
from ldmkit.testing.compression import (
    check_adversary,
    check_compression,
    check_keymap,
    check_loss,
    check_regulariser,
)
from ldmkit.types import Posterior

SMALL = {"width": 32, "blocks": 1}


def component(kind, name):
    return host().registry.get(kind, name).load()


class Rounding(nn.Module):
    """A third regulariser: each channel is bounded and rounded to one of five values (finite scalars)."""

    def moments(self, channels):
        return channels

    def mode(self, moments):
        return 2 * moments.tanh()

    def posterior(self, moments):
        return Posterior(self.mode(moments), None, moments.new_zeros(len(moments)))

    def restore(self, latent):
        return latent + (latent.round() - latent).detach()


class Maps(nn.Module):
    """A feature network."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)])
        self.requires_grad_(False)

    def forward(self, image):
        first = self.layers[0](image).relu()
        return [first, self.layers[1](first)]

    def embed(self, image):
        return self(image)[-1].mean((2, 3))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("identity", {}),
        ("kl-autoencoder", {"factor": 4, "channels": 3, "multipliers": (1, 2, 1), **SMALL}),
        ("kl-autoencoder", {"factor": 8, "patch": 2, "multipliers": (1, 1, 2), "z_channels": 6, **SMALL}),
        ("kl-autoencoder", {"factor": 2, "attention": (256,), "middle_attention": False, **SMALL}),
        ("kl-autoencoder", {"factor": 4, "patch": 4, "dropout": 0.1, **SMALL}),
        ("kl-autoencoder", {"factor": 4, "decoder_width": 64, "decoder_blocks": 1, **SMALL}),
        ("vq-autoencoder", {"factor": 4, "codebook_size": 16, **SMALL}),
        ("vq-autoencoder", {"factor": 2, "codebook_size": 16, "ema": 0.9, "z_channels": 5, **SMALL}),
        ("autoencoder", {"regulariser": Rounding(), "factor": 2, **SMALL}),
    ],
)
def test_compression(name, parameters):
    torch.manual_seed(0)
    check_compression(component("compression", name)(**parameters), size=16)


@pytest.mark.parametrize(
    "made",
    [
        lambda: component("regulariser", "gaussian")(),
        lambda: component("regulariser", "vector-quantizer")(codebook_size=8),
        Rounding,
    ],
)
def test_regulariser(made):
    torch.manual_seed(0)
    check_regulariser(made())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("pixel", {}), ("pixel", {"norm": "l2", "weight": 3.0}), ("perceptual", {"features": Maps()})],
)
def test_loss(name, parameters):
    torch.manual_seed(0)
    check_loss(component("loss", name)(**parameters), size=32)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"loss": "vanilla", "norm": "group", "layers": 2}, {"norm": "none", "start": 50_001, "weight": 1.0}],
)
def test_adversary(parameters):
    torch.manual_seed(0)
    check_adversary(component("adversary", "patch-adversarial")(width=32, **parameters), size=32)


@pytest.mark.parametrize("format_name", ["compvis", "diffusers"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (
            "kl-autoencoder",
            {"factor": 4, "channels": 3, "multipliers": (1, 2, 1), "attention": (128,), **SMALL},
        ),
        ("kl-autoencoder", {"factor": 2, "middle_attention": False, **SMALL}),
        ("vq-autoencoder", {"factor": 2, "codebook_size": 9, "z_channels": 5, **SMALL}),
        ("vq-autoencoder", {"factor": 2, "codebook_size": 9, "ema": 0.9, **SMALL}),
    ],
)
def test_keymap(format_name, name, parameters):
    torch.manual_seed(0)
    check_keymap(component("keymap", f"{format_name}/{name}")(), component("compression", name), parameters)


class Wrong(nn.Module):
    """A loss that mixes pictures, an adversary that never counts."""

    def forward(self, reconstruction, image):
        return (reconstruction - image).square().mean()

    def trains(self, step):
        return True

    def weight(self, step):
        return 0.0


def test_contracts_catch_what_breaks_them():
    identity = component("compression", "identity")()
    identity.posterior = lambda image: Posterior(image * 2, None, image.new_zeros(len(image)))
    with pytest.raises(AssertionError, match="mode is what encode gives"):
        check_compression(identity, size=8)
    with pytest.raises(AssertionError, match="per element or broadcasts"):
        check_loss(Wrong(), size=8)
    with pytest.raises(AssertionError, match="above 0 at some step"):
        check_adversary(Wrong())
    rounding = Rounding()
    rounding.restore = torch.Tensor.round
    with pytest.raises(AssertionError, match="a gradient passes"):
        check_regulariser(rounding)
