"""Guidance on data of two patterns, whose estimate with and without the condition is known."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from ldmkit_diffusion import samplers, spacings
from ldmkit_diffusion.discrete import ScaledLinear
from ldmkit_diffusion.guidance import ClassifierFree
from ldmkit_diffusion.known_region import KnownRegion
from PIL import Image
from torch import nn

from ldmkit.guidance import score_gradient
from ldmkit.types import Condition, Estimate, Request

SCHEDULE = ScaledLinear()
SPREAD = 0.3
STRIPES = torch.ones(3, 8, 8)
STRIPES[:, :, ::2] = -1
PATTERNS = 0.5 * torch.stack([STRIPES, STRIPES.transpose(1, 2)])


def condition(which):
    """The wish for one pattern, for 60 pictures; None: no wish."""
    weights = [0.5, 0.5] if which is None else [float(which == k) for k in (0, 1)]
    return {"pattern": Condition(vector=torch.tensor(weights).expand(60, 2))}


class Network:
    """The exact estimate of an equal mixture of the two patterns with noise; counts what it is asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, level, conditions):
        self.calls.append(len(conditions))
        return [self.one(z, level, each["pattern"].vector) for each in conditions]

    def one(self, z, level, prior):
        at = level.like(z)
        variance = (at.alpha * SPREAD) ** 2 + at.sigma**2
        gap = z[:, None] - at.alpha[:, None] * PATTERNS
        likelihood = -(gap**2).flatten(2).sum(2) / (2 * variance.flatten(1))
        weight = (prior[: len(z)].log() + likelihood).softmax(1)[:, :, None, None, None]
        clean = (weight * (PATTERNS + (at.alpha * SPREAD**2 / variance)[:, None] * gap)).sum(1)
        return Estimate(clean, (z - at.alpha * clean) / at.sigma)


def sample(estimate, wanted, steps=20):
    levels = spacings.karras(SCHEDULE, steps)
    z = torch.randn(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return samplers.ddim(lambda z, level: estimate(z, level, [wanted])[0], z, levels, lambda i: z)


def share(made, which):
    """How many pictures show that pattern."""
    nearest = (made[:, None] - PATTERNS).flatten(2).norm(dim=2).argmin(1)
    return float((nearest == which).float().mean())


def request(which, **changes):
    return Request(condition(which), condition(None), decode=torch.nn.Identity(), **changes)


def level_at(ratio):
    """The level whose sigma / alpha is this."""
    return SCHEDULE.level(SCHEDULE.invert(-2 * torch.tensor(ratio).double().log()))


def noisy(level):
    z = torch.randn(60, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return level.add_noise(PATTERNS[0].expand(60, -1, -1, -1), z)


def test_classifier_free_is_the_published_formula_in_one_pass():
    network, level = Network(), level_at(2.0)
    z = noisy(level)
    (made,) = ClassifierFree(scale=3.0).bind(network, request(1))(z, level, [condition(1)])
    assert network.calls == [2]
    wanted, null = network(z, level, [condition(1), condition(None)])
    torch.testing.assert_close(made.noise, null.noise + 3 * (wanted.noise - null.noise))


def test_scale_one_costs_nothing():
    network, level = Network(), level_at(2.0)
    ClassifierFree(scale=1.0).bind(network, request(1))(noisy(level), level, [condition(1)])
    assert network.calls == [1]


def test_outside_the_interval_only_the_wanted_condition_is_asked():
    network = Network()
    sample(ClassifierFree(scale=3.0, interval=(0.3, 3.0)).bind(network, request(1)), condition(1))
    levels = spacings.karras(SCHEDULE, 20)
    ratios = (levels.sigma / levels.alpha)[:-1]
    assert network.calls == [2 if 0.3 < r <= 3.0 else 1 for r in ratios.tolist()]
    assert 0 < network.calls.count(2) < 20


def test_each_condition_may_have_its_own_scale():
    """Two conditions that only add up: the guided estimate is null + 2 first + 5 second."""
    first, second = torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(0))
    wanted = {"a": Condition(vector=first), "b": Condition(vector=second)}
    null = {name: Condition(vector=torch.zeros(4, 1)) for name in wanted}
    asked = []

    def network(z, level, conditions):
        asked.append([id(c) for c in conditions])
        cleans = [sum(c[name].vector for name in "ab").view(4, 1, 1, 1).expand_as(z) for c in conditions]
        return [Estimate(clean, -clean) for clean in cleans]

    guided = ClassifierFree(scale=2.0, scales={"b": 5.0}).bind(network, Request(wanted, null))
    for _ in range(2):
        (made,) = guided(torch.zeros(4, 3, 8, 8), level_at(1.0), [wanted])
    torch.testing.assert_close(made.clean[:, 0, 0, 0], (2 * first + 5 * second)[:, 0])
    assert asked[0] == asked[1], "the same conditions at every step, so that the network binds them once"
    assert len(asked[0]) == 3


def test_scales_of_unknown_conditions_are_refused():
    with pytest.raises(ValueError, match="no condition b"):
        ClassifierFree(scales={"b": 2.0}).bind(Network(), request(1))


@pytest.mark.parametrize(("rescale", "excess"), [(0.0, 1.0), (0.7, 0.3), (1.0, 0.0)])
def test_rescale_takes_back_the_excess_deviation(rescale, excess):
    network, level = Network(), level_at(6.0)
    z = noisy(level)
    guide = partial(ClassifierFree, scale=5.0)
    (plain,) = guide().bind(network, request(1))(z, level, [condition(1)])
    (made,) = guide(rescale=rescale).bind(network, request(1))(z, level, [condition(1)])
    (wanted,) = network(z, level, [condition(1)])
    before, after, unguided = (x.clean.flatten(1).std(1) for x in (plain, made, wanted))
    assert (before > 1.02 * unguided).all()
    torch.testing.assert_close(after - unguided, excess * (before - unguided), rtol=1e-3, atol=1e-5)


def trained_scorer():
    """log p(pattern 1 | picture) of a small network that learned the patterns here."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(512, 2))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        which = torch.randint(2, (64,))
        pictures = PATTERNS[which] + SPREAD * torch.randn(64, 3, 8, 8)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pictures), which).backward()
        optimizer.step()
    return lambda picture: network(picture).log_softmax(1)[:, 1]


def test_the_gradient_of_a_trained_scorer_steers_the_samples():
    score, free = trained_scorer(), Network()
    assert 0.3 < share(sample(free, condition(None)), 1) < 0.7
    steered = score_gradient(free, request(None), score, scale=3.0)
    made = sample(steered, condition(None))
    assert share(made, 1) > 0.95
    assert not made.requires_grad
    with torch.no_grad():
        assert score(made).mean() > score(sample(free, condition(None))).mean() + 0.5


def test_guidance_stacks():
    """Scorer inside, conditions outside: the conditions steer what is steered already."""
    score, level = trained_scorer(), level_at(3.0)
    z, wishes = noisy(level), [condition(1), condition(None)]
    inner = score_gradient(Network(), request(1), score, scale=2.0)
    (made,) = ClassifierFree(scale=3.0).bind(inner, request(1))(z, level, wishes[:1])
    wanted, null = inner(z, level, wishes)
    torch.testing.assert_close(made.clean, null.clean + 3 * (wanted.clean - null.clean))
    (unsteered,) = ClassifierFree(scale=3.0).bind(Network(), request(1))(z, level, wishes[:1])
    assert not torch.allclose(made.clean, unsteered.clean)


def test_a_score_needs_a_decoder():
    with pytest.raises(ValueError, match="decoder"):
        score_gradient(Network(), Request({}, {}), lambda picture: picture.mean((1, 2, 3)))


class Identity:
    scale = torch.ones(3)

    def encode(self, image):
        return image


def known(kind):
    """Half of pattern 0 is known: as tensors, or as pictures."""
    mask = torch.zeros(60, 1, 8, 8)
    mask[..., 4:] = 1
    image = torch.where(mask.bool(), -1.0, PATTERNS[0])
    if kind == "tensors":
        return {"image": image, "mask": mask}
    grey = [Image.fromarray((m[0] * 255).byte().numpy()) for m in mask]
    picture = ((PATTERNS[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return {"image": [Image.fromarray(picture)] * 60, "mask": grey}


@pytest.mark.parametrize("kind", ["tensors", "pictures"])
def test_the_known_region_stays_and_the_hole_is_filled_to_fit(kind):
    estimate = KnownRegion(Identity()).bind(Network(), request(None, raw=known(kind)))
    made = sample(estimate, condition(None))
    kept = float((made - PATTERNS[0])[..., :4].abs().max())
    assert kept < 0.01
    assert share(made, 0) > 0.8, "half of them without what is known"
    assert made[..., 4:].std(0).mean() > 0.05, "the hole is not pasted over"


def test_the_known_region_names_what_is_missing():
    with pytest.raises(ValueError, match="'mask'"):
        KnownRegion(Identity()).bind(Network(), request(None, raw={"image": torch.zeros(60, 3, 8, 8)}))
