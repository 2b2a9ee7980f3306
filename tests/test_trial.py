"""What a component hands to its neighbours is looked at with numbers before any training."""

from __future__ import annotations

from functools import wraps

import pytest
import torch
import training_toy
from training_toy import toy

from ldmkit.engine import plans, sizes
from ldmkit.engine.trial import try_process
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.types import ConditionSpec, LatentSpec, Level
from ldmkit.verbs.check import inspect

NAN = float("nan")


def tried():
    system = toy()
    try_process(system, plans.plan(system), sizes.latent_size(system, (16, 16)))


def evenly(schedule, steps, size=None):
    return schedule.level(torch.linspace(1, 0, steps + 1), size)


def shorter(schedule, steps: int, size=None):
    return evenly(schedule, steps - 1)


def rising(schedule, steps: int, size=None):
    return schedule.level(torch.linspace(0, 1, steps + 1), size)


def listed(schedule, steps: int, size=None):
    return list(evenly(schedule, steps))


def nothing(estimate, z, levels, noise):
    return None


def halved(estimate, z, levels, noise):
    return z[:, :2]


def black(estimate, z, levels, noise):
    return z * NAN


def beyond(estimate, z, levels, noise):
    return estimate(z, levels[len(levels)]).clean


def drawing(estimate, z, levels, noise):
    return z + torch.randn_like(z)


def leaving(estimate, z, levels, noise):
    raise SystemExit(0)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


def unspeakable(estimate, z, levels, noise):
    raise Unspeakable


async def later(estimate, z, levels, noise):
    return z


@pytest.mark.parametrize(
    ("name", "spacing", "said"),
    [
        ("shorter", shorter, r"sampler.spacing \(toy\): levels: alpha is \(3,\)"),
        ("rising", rising, "the noisiest is not the first"),
        ("listed", listed, "list is no ldmkit.types.Level"),
    ],
)
def test_levels_of_a_spacing_are_looked_at(name, spacing, said, monkeypatch):
    monkeypatch.setattr(training_toy, "evenly", spacing)
    with pytest.raises(UserError, match=said):
        tried()


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        (nothing, "NoneType"),
        (halved, "2x2x4x4, 2x3x4x4 is expected"),
        (black, "not finite"),
        (beyond, "IndexError"),
        (later, "coroutine"),
        (drawing, "the same noise gives another latent"),
        (leaving, "SystemExit: 0"),
        (unspeakable, "Unspeakable: .its text cannot be had."),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine")
def test_the_latent_of_a_sampler_is_looked_at(sampler, said, monkeypatch):
    monkeypatch.setattr(training_toy, "euler", sampler)
    with pytest.raises(UserError, match=rf"sampler \(toy\): does not do what .*{said}"):
        tried()


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("level", lambda self, t, size=None: Level(t * NAN, t, t), "level: alpha is not finite"),
        ("level", lambda self, t, size=None: (t, t), "tuple is no ldmkit.types.Level"),
        ("level", lambda self, t, size=None: Level(1 - t / 2, 1 - t, t), "the noise does not grow"),
        ("draw", lambda self, n, generator, size=None: torch.rand(n), "could be repeated"),
        ("draw", lambda self, n, generator, size=None: torch.ones(n + 1), r"draw is \(6,\)"),
        ("draw", lambda self, n, generator, size=None: torch.full((n,), 7.0), "beyond"),
        ("invert", lambda self, log_snr, size=None: None, "invert is NoneType"),
    ],
)
def test_a_schedule_is_looked_at(member, value, said, monkeypatch):
    monkeypatch.setattr(training_toy.Cosine, member, value)
    with pytest.raises(UserError, match=rf"schedule \(toy\): .*{said}"):
        tried()


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("out_channels", lambda self, channels: channels * 1.0, "out_channels gives 3.0"),
        ("scale_input", lambda self, z, level: None, "scale_input is NoneType"),
        ("loss", lambda self, raw, clean, noise, level: (raw - noise).square().mean(), r"loss is \(\)"),
        ("loss", lambda self, raw, clean, noise, level: noise.mean((1, 2, 3)), "nothing could learn"),
        ("estimate", lambda self, raw, z, level: (z, raw), "tuple is no ldmkit.types.Estimate"),
    ],
)
def test_an_objective_is_looked_at(member, value, said, monkeypatch):
    monkeypatch.setattr(training_toy.Epsilon, member, value)
    with pytest.raises(UserError, match=rf"objective \(toy\): .*{said}"):
        tried()


@pytest.mark.parametrize(
    ("component", "value", "said"),
    [
        ("Autoencoder", {"latent": (3, 4)}, "latent is tuple, no ldmkit.types.LatentSpec"),
        ("Autoencoder", {"latent": LatentSpec(3, 4.0)}, "latent.factor is 4.0"),
        ("Autoencoder", {"scale": torch.ones(())}, "scale is no buffer of 3 numbers"),
        ("Words", {"spec": ConditionSpec(fields="caption", tokens=8)}, "spec.fields is 'caption'"),
        ("Words", {"spec": ConditionSpec(fields=("caption",), tokens=8.0)}, "spec.tokens is 8.0"),
        (
            "Words",
            {"spec": ConditionSpec(("caption",), 8, kinds={"caption": "words"})},
            "'words' of 'caption'",
        ),
        ("Words", {"spec": None}, "spec is NoneType"),
    ],
)
def test_what_a_component_says_of_itself_is_looked_at(component, value, said, monkeypatch):
    built = getattr(training_toy, component)
    constructor = built.__init__

    @wraps(constructor)
    def changed(self, **options):
        constructor(self, **options)
        for name, one in value.items():
            setattr(self, name, one)

    monkeypatch.setattr(built, "__init__", changed)
    with pytest.raises(UserError, match=said):
        toy()


def test_a_constructor_that_raises_anything_is_named(monkeypatch):
    class Failing(training_toy.Cosine):
        def __init__(self) -> None:
            {}["betas"]

    monkeypatch.setattr(training_toy, "Cosine", Failing)
    with pytest.raises(UserError, match=r"schedule \(toy\): KeyError: 'betas'"):
        toy()


def test_a_picture_that_would_be_black_is_refused(monkeypatch):
    system = toy()
    system.denoiser.out.bias.data.fill_(NAN)
    with pytest.raises(UserError, match=r"sampler \(toy\): the latent is not finite"):
        system.sample(["a thing"], fields={}, size=(16, 16), steps=2)


def test_the_installed_schedules_with_every_spacing_and_sampler_pass():
    registry = host().registry
    small = {
        "recipe": 1,
        "name": "small",
        "compression": {"name": "kl-autoencoder", "factor": 4, "channels": 4, "width": 32, "blocks": 1,
                        "multipliers": [1, 1, 1]},
        "denoiser": {"name": "unet", "width": 64, "multipliers": [1], "blocks": 1, "attention": []},
        "sample": {"size": [32, 32]},
    }  # fmt: skip
    for spacing in registry.names("spacing"):
        if spacing == "timesteps":  # lists its own
            continue
        for sampler in registry.names("sampler"):
            recipe = small | {"sampler": {"name": sampler, "spacing": spacing, "steps": 10}}
            inspect(resolve(load(recipe, [], registry), registry), registry)
