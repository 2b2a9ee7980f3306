"""One picture goes through the system on the meta device before any work: misfits are named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from small_recipes import LATENTS, UNET
from torch import nn

from ldmkit.engine.rehearsal import activations, rehearse
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import complete
from ldmkit.types import Condition
from ldmkit.verbs.check import inspect

RECIPE = {**LATENTS,
"name": "small",
"conditioners": {"label": {"name": "class-embedding", "classes": 10, "width": 16}},
"denoiser": {**UNET, "attention": [1]},
"sample": {"size": [32, 32]},}  # fmt: skip


@pytest.fixture
def system():
    registry = host().registry
    return inspect(complete(RECIPE, registry=registry), registry)


def test_what_fits_passes(system):
    rehearse(system, (32, 32))
    assert all(p.is_meta for p in system.parameters())


class Wrong(nn.Module):
    """A denoiser whose output has half the channels that are wanted."""

    def forward(self, z, time, condition):
        return z[:, :2]

    def bind(self, condition):
        return lambda z, time: z[:, :2]


def test_a_denoiser_of_another_shape_is_named(system):
    system.denoiser = Wrong()
    with pytest.raises(UserError, match=r"denoiser \(unet\): .* output is 2x2x8x8, 2x4x8x8 is expected"):
        rehearse(system, (32, 32))


def test_a_denoiser_that_could_not_learn_is_named_where_it_is_trained(monkeypatch):
    training = {"diffusion": {"steps": 2, "batch": 2, "lr": 1e-3}}
    registry = host().registry
    system = inspect(complete({**RECIPE, "train": training}, registry=registry), registry)
    rehearse(system, (32, 32))
    forward = system.denoiser.forward
    monkeypatch.setattr(system.denoiser, "forward", lambda *inputs: forward(*inputs).detach())
    with pytest.raises(UserError, match=r"denoiser \(unet\): .*output does not depend on its weights"):
        rehearse(system, (32, 32))


def test_a_denoiser_whose_layers_do_not_fit_its_input_is_named(system):
    system.denoiser.conv_in = nn.Conv2d(7, 32, 3, padding=1, device="meta")
    with pytest.raises(UserError, match=r"denoiser \(unet\): does not fit its neighbours"):
        rehearse(system, (32, 32))


def test_a_latent_of_another_shape_than_announced_is_named(system, monkeypatch):
    monkeypatch.setattr(system.compression, "encode", lambda image: torch.zeros(1, 4, 16, 16, device="meta"))
    with pytest.raises(UserError, match=r"compression \(kl-autoencoder\): .* 1x4x16x16, 2x4x8x8 is expected"):
        rehearse(system, (32, 32))


def test_a_latent_of_double_precision_is_named(system, monkeypatch):
    encode = system.compression.encode
    monkeypatch.setattr(system.compression, "encode", lambda image: encode(image).double())
    with pytest.raises(UserError, match=r"compression \(kl-autoencoder\): .*encode is torch.float64"):
        rehearse(system, (32, 32))


def test_a_null_condition_of_another_width_is_named(system, monkeypatch):
    null = lambda like: Condition(tokens=torch.zeros(1, 1, 5, device="meta"))  # noqa: E731
    monkeypatch.setattr(system.conditioners["label"], "null", null)
    with pytest.raises(UserError, match=r"conditioner \(class-embedding\): .*null: tokens is 1x1x5"):
        rehearse(system, (32, 32))


def test_what_needs_numbers_is_passed_over(system, monkeypatch):
    monkeypatch.setattr(system.compression, "encode", lambda image: image.sum().item())
    rehearse(system, (32, 32))


def test_activations_are_what_autograd_keeps():
    """Of tanh and a linear layer: the input and tanh's result, each once, and no weights."""

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8, device="meta")

        def forward(self, z, time, condition):
            return self.linear(z).tanh()

    toy = Toy()
    latent = SimpleNamespace(channels=4, factor=4)
    stand_in = SimpleNamespace(
        compression=SimpleNamespace(latent=latent), named_conditioners=lambda: [], network=toy,
        parameters=toy.parameters,
    )  # fmt: skip
    assert activations(stand_in, "diffusion", (32, 32)) == 2 * 4 * (4 * 8 * 8)
