"""The codebook: whom each term teaches, an averaged codebook, dead codes, large codebooks."""

from __future__ import annotations

import pytest
import torch
from ldmkit_autoencoders import quantizer
from ldmkit_autoencoders.quantizer import VectorQuantizer
from ldmkit_autoencoders.vq import VQAutoencoder

from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host


def latents(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(order, beta):
    torch.manual_seed(0)
    codebook = VectorQuantizer(channels=3, codebook_size=16, beta=beta, order=order, revive_after=0)
    latent = latents(2, 3, 4, 4).requires_grad_()
    codebook.posterior(latent).penalty.mean().backward()
    return latent.grad, codebook.codebook.grad


@pytest.mark.parametrize(("order", "scaled"), [("paper", "encoder"), ("legacy", "codebook")])
def test_beta_weighs_the_term_that_the_order_names(order, scaled):
    one, half = gradients(order, 1.0), gradients(order, 0.5)
    weights = {
        "encoder": 0.5 if scaled == "encoder" else 1.0,
        "codebook": 0.5 if scaled == "codebook" else 1.0,
    }
    torch.testing.assert_close(half[0], weights["encoder"] * one[0])
    torch.testing.assert_close(half[1], weights["codebook"] * one[1])


def test_the_decoder_s_gradient_passes_straight_through():
    torch.manual_seed(0)
    model = VQAutoencoder(factor=2, channels=3, codebook_size=8, width=32, blocks=1)
    latent = latents(1, 3, 8, 8).requires_grad_()
    model.decode(latent).sum().backward()
    quantized = model.regulariser.restore(latent.detach()).requires_grad_()
    model.decode(quantized, quantize=False).sum().backward()
    torch.testing.assert_close(latent.grad, quantized.grad)


def test_decoding_takes_the_nearest_codes_unless_told_not_to():
    torch.manual_seed(0)
    model = VQAutoencoder(factor=2, channels=3, codebook_size=8, width=32, blocks=1).eval()
    model.scale.fill_(2.0)
    model.shift.fill_(-0.5)
    latent = latents(1, 3, 8, 8)
    codes = model.codes(latent)
    exact = (model.regulariser.lookup(codes) + 0.5) * 2.0
    torch.testing.assert_close(model.decode(latent), model.decode(exact, quantize=False), rtol=0, atol=1e-4)
    assert (model.decode(latent) - model.decode(latent, quantize=False)).abs().max() > 1e-2
    assert torch.equal(model.codes(exact), codes)


def test_codes_are_nearest_whatever_the_chunk(monkeypatch):
    torch.manual_seed(0)
    codebook = VectorQuantizer(channels=3, codebook_size=50)
    latent = 0.02 * latents(2, 3, 8, 8)
    wanted = torch.cdist(latent.movedim(1, -1).reshape(-1, 3).double(), codebook.codebook.double()).argmin(1)
    for chunk in (1, 777, 2**22):
        monkeypatch.setattr(quantizer, "CHUNK", chunk)
        assert torch.equal(codebook.codes(latent).flatten(), wanted)


def test_usage_and_perplexity_of_known_codes():
    codebook = VectorQuantizer(channels=1, codebook_size=4).eval()
    codebook.codebook.data = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    metrics = codebook.posterior(torch.tensor([0.1, 0.9, 1.1, 0.0]).reshape(1, 1, 2, 2)).metrics
    assert metrics["usage"] == 0.5
    torch.testing.assert_close(metrics["perplexity"], torch.tensor(2.0))


def test_an_averaged_codebook_finds_the_clusters_without_a_gradient():
    torch.manual_seed(0)
    codebook = VectorQuantizer(channels=2, codebook_size=3, ema=0.8, revive_after=0)
    assert not codebook.codebook.requires_grad
    centres = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -2.0]])
    codebook.codebook.data = centres + 0.3
    codebook.sums.copy_(codebook.codebook)
    for step in range(60):
        near = centres.repeat(16, 1) + 0.01 * latents(48, 2, seed=step)
        codebook.posterior(near.T.reshape(1, 2, 6, 8))
    torch.testing.assert_close(codebook.codebook.data, centres, rtol=0, atol=0.02)


def test_nothing_moves_in_eval_or_without_gradients():
    codebook = VectorQuantizer(channels=2, codebook_size=3, ema=0.5, revive_after=1)
    before = {name: x.clone() for name, x in codebook.state_dict().items()}
    with torch.no_grad():
        codebook.posterior(latents(1, 2, 4, 4))
    codebook.eval().posterior(latents(1, 2, 4, 4))
    assert all(torch.equal(x, before[name]) for name, x in codebook.state_dict().items())


@pytest.mark.parametrize("ema", [None, 0.9])
def test_dead_codes_are_revived_and_used_codes_stay(ema):
    torch.manual_seed(0)
    codebook = VectorQuantizer(channels=2, codebook_size=32, ema=ema, revive_after=3)
    codebook.codebook.data[1:] += 100.0
    batches = [latents(2, 2, 8, 8, seed=n) for n in range(20)]
    first = codebook.posterior(batches[0]).metrics["usage"]
    assert first == 1 / 32
    for batch in batches:
        metrics = codebook.posterior(batch).metrics
    assert metrics["usage"] > 0.9
    assert metrics["perplexity"] > 10


def test_a_resumed_training_revives_the_same_codes():
    torch.manual_seed(0)
    codebook = VectorQuantizer(channels=2, codebook_size=32, revive_after=2)
    codebook.codebook.data[1:] += 100.0
    codebook.posterior(latents(1, 2, 4, 4))
    state = {name: x.clone() for name, x in codebook.state_dict().items()}
    for _ in range(3):
        codebook.posterior(latents(1, 2, 4, 4))
    torch.manual_seed(99)
    again = VectorQuantizer(channels=2, codebook_size=32, revive_after=2)
    again.load_state_dict(state)
    for _ in range(3):
        again.posterior(latents(1, 2, 4, 4))
    assert torch.equal(again.codebook, codebook.codebook)


def test_a_short_training_uses_the_codebook_and_learns():
    torch.manual_seed(0)
    model = VQAutoencoder(
        factor=2, channels=3, codebook_size=64, width=32, blocks=1, middle_attention=False, revive_after=5
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3, betas=(0.5, 0.9))
    y, x = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
    image = torch.stack([torch.stack([x * a, y, x * y * a]) for a in (1.0, -1.0, 0.3, -0.5)])
    errors = []
    for _ in range(40):
        posterior = model.posterior(image)
        error = (model.decode(posterior.mode) - image).square().mean()
        optimizer.zero_grad()
        (error + posterior.penalty.mean()).backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.1 * errors[0]
    assert posterior.metrics["usage"] > 0.3


def test_the_autoencoder_takes_the_parameters_of_its_quantizer():
    whole, quantizer = (
        parameters_of(host().registry.get(kind, name)).model.model_fields
        for kind, name in (("compression", "vq-autoencoder"), ("regulariser", "vector-quantizer"))
    )
    shared = quantizer.keys() - {"channels"}  # whose default is the latent's
    assert {name: repr(whole[name]) for name in shared} == {name: repr(quantizer[name]) for name in shared}
