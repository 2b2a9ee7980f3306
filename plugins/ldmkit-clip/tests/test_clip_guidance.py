"""CLIP guidance: the gradient is the likelihood's own, and it moves pictures towards the text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from ldmkit_clip.cutouts import cutouts
from ldmkit_clip.guidance import ClipGuidance
from ldmkit_clip.network import load_clip
from ldmkit_clip.sources import Network
from ldmkit_diffusion.guidance import ClassifierFree

from ldmkit.types import Condition, Estimate, Level, Request

LEVEL = Level(*(torch.tensor(x, dtype=torch.float64) for x in (0.8, 0.6, 400.0)))
PROMPTS = ["a red fox", "an umbrella"]


def decode(latent):
    """Latent "b 3 8 8" to pictures "b 3 16 16"."""
    return torch.tanh(latent).repeat_interleave(2, 2).repeat_interleave(2, 3)


def network(z, level, conditions: Sequence):
    """An estimate that is not linear in z, and the noise that goes with it."""
    cleans = [torch.sin(z) + 0.1 * (i + 1) for i, _ in enumerate(conditions)]
    alpha, sigma = float(level.alpha), float(level.sigma)
    return [Estimate(clean, (z - alpha * clean) / sigma) for clean in cleans]


def gaussian(z, level, conditions: Sequence):
    """The posterior mean of data of unit variance."""
    alpha, sigma = float(level.alpha), float(level.sigma)
    clean = alpha / (alpha**2 + sigma**2) * z
    return [Estimate(clean, (z - alpha * clean) / sigma) for _ in conditions]


def request(prompts=PROMPTS):
    return Request({}, {}, {"caption": prompts}, decode)


def latents(n: int = 2):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def guidance(tiny):
    """Guidance in float64, for derivatives."""
    load_clip(Network(path=str(tiny))).double()

    def make(**parameters):
        return ClipGuidance(network=Network(path=str(tiny)), **parameters)

    return make


def likelihood(guide, z, level):
    """What the gradient is to be of, from its definition: mean cosine over the temperature, whole picture."""
    clip = guide.network
    picture = decode(network(z, level, [{}])[0].clean)
    return clip.scale * (clip.images(picture) * clip.texts(PROMPTS)).sum(1)


def test_the_gradient_is_the_likelihood_s_by_finite_differences(guidance):
    guide, z = guidance(scale=3.0, cutouts=0, through_network=True), latents()
    guided = guide.bind(network, request())(z, LEVEL, [{}])[0]
    plain = network(z, LEVEL, [{}])[0]
    direction, step = latents().flip(0), 1e-4
    rise = likelihood(guide, z + step * direction, LEVEL) - likelihood(guide, z - step * direction, LEVEL)
    expected = rise / (2 * step)
    sigma, alpha = float(LEVEL.sigma), float(LEVEL.alpha)
    along = ((guided.noise - plain.noise) * direction).sum((1, 2, 3))
    assert torch.allclose(along, -sigma * 3.0 * expected, rtol=1e-5)
    along = ((guided.clean - plain.clean) * direction).sum((1, 2, 3))
    assert torch.allclose(along, sigma**2 / alpha * 3.0 * expected, rtol=1e-5)


def test_without_the_network_the_gradient_is_exact_for_gaussian_data(guidance):
    z = latents()
    short, exact = (
        guidance(scale=3.0, cutouts=2, through_network=through).bind(gaussian, request())(z, LEVEL, [{}])[0]
        for through in (False, True)
    )
    assert torch.allclose(short.clean, exact.clean, rtol=1e-9)
    assert torch.allclose(short.noise, exact.noise, rtol=1e-9)
    assert not torch.allclose(short.clean, gaussian(z, LEVEL, [{}])[0].clean)


@pytest.mark.parametrize("through", [True, False])
def test_z_stays_the_sum_of_clean_and_noise(guidance, through):
    z = latents()
    guided = guidance(through_network=through).bind(network, request())(z, LEVEL, [{}])[0]
    assert torch.allclose(LEVEL.add_noise(guided.clean, guided.noise), z, atol=1e-9)


def test_pictures_come_nearer_to_their_text(guidance):
    guide, z = guidance(scale=0.3, cutouts=0), latents()
    guided = guide.bind(network, request())(z, LEVEL, [{}])[0]
    texts = guide.network.texts(PROMPTS)
    before, after = (
        (guide.network.images(decode(e.clean)) * texts).sum(1) for e in (network(z, LEVEL, [{}])[0], guided)
    )
    assert (after > before).all()


@pytest.mark.parametrize("through", [True, False])
def test_a_picture_does_not_depend_on_its_batch(guidance, through):
    z = latents()
    guide = guidance(cutouts=3, through_network=through)
    together = guide.bind(network, request())(z, LEVEL, [{}])[0]
    alone = guide.bind(network, request(PROMPTS[1:]))(z[1:], LEVEL, [{}])[0]
    assert torch.allclose(together.clean[1:], alone.clean, atol=1e-9)


def test_a_prompt_of_its_own_needs_no_field(guidance):
    z = latents()
    own = guidance(prompt=PROMPTS[0])
    read = guidance()
    assert (own.fields, read.fields) == ((), ("caption",))
    expected = read.bind(network, request([PROMPTS[0]] * 2))(z, LEVEL, [{}])[0]
    assert torch.allclose(own.bind(network, request(None))(z, LEVEL, [{}])[0].clean, expected.clean)


@pytest.mark.parametrize("given", [None, "a red fox", [1, 2]])
def test_a_request_without_texts_is_refused(guidance, given):
    with pytest.raises(ValueError, match="needs a text a picture in 'caption'"):
        guidance().bind(network, request(given))


def test_it_guides_within_its_interval_and_with_a_scale_only(guidance):
    z = latents()
    ratio = float(LEVEL.sigma / LEVEL.alpha)
    assert guidance(scale=0.0).bind(network, request()) is network
    outside = guidance(interval=(ratio, 2 * ratio)).bind(network, request())(z, LEVEL, [{}])[0]
    assert torch.equal(outside.clean, network(z, LEVEL, [{}])[0].clean)
    inside = guidance(interval=(ratio / 2, ratio)).bind(network, request())(z, LEVEL, [{}])[0]
    assert not torch.equal(inside.clean, outside.clean)
    with pytest.raises(ValueError, match="interval"):
        guidance(interval=(2.0, 1.0))
    with pytest.raises(ValueError, match="prompt"):
        guidance(prompt=" ")


def test_it_stacks_with_classifier_free_guidance(guidance):
    """Outside of it, CLIP's gradient is added to the classifier-free estimate."""
    z, own, null = latents(), {"c": Condition()}, {"c": Condition()}
    asked = Request({"c": Condition()}, null, {"caption": PROMPTS}, decode)
    free = ClassifierFree(scale=2.0).bind(network, asked)
    both = guidance(cutouts=0).bind(free, asked)(z, LEVEL, [own])[0]
    alone = free(z, LEVEL, [own])[0]
    leaf = alone.clean.clone().requires_grad_()
    guide = guidance(cutouts=0)
    cosine = (guide.network.images(decode(leaf)) * guide.network.texts(PROMPTS)).sum()
    slope = torch.autograd.grad(guide.network.scale * cosine, leaf)[0]
    assert torch.allclose(both.clean - alone.clean, 10.0 * 0.6**2 * slope, atol=1e-9)


def test_cutouts_are_the_picture_and_squares_within_it():
    image = torch.arange(2 * 3 * 20 * 30.0).reshape(2, 3, 20, 30)
    whole, *parts = cutouts(image, 50, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(whole, image)
    sides = [part.shape[2] for part in parts]
    assert all(part.shape[2] == part.shape[3] for part in parts)
    assert 10 <= min(sides) < 13
    assert 18 < max(sides) <= 20
    lefts = {int(part[0, 0, 0, 0]) % 30 for part in parts}
    assert min(lefts) < 4
    assert max(lefts) > 14
    again = cutouts(image, 50, 0.5, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(again[1:], parts, strict=True))


@pytest.mark.parametrize("raw", [{}, {"caption": [2024]}, {"caption": "one text"}])
def test_what_is_no_text_a_picture_is_refused_before_weights_are_used(guidance, raw):
    guide = guidance()
    with pytest.raises(ValueError, match="needs a text a picture in 'caption': give prompts"):
        guide.check_inputs(raw, None)
    guide.check_inputs({"caption": ["2024"]}, None)
    guidance(prompt="a fox").check_inputs(raw, None)
