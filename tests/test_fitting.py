"""Components that do not fit their Protocol are refused when they are built, not after a training."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import training_toy
from torch import nn
from training_toy import toy

from ldmkit.engine.fitting import misfits
from ldmkit.engine.plans import plan
from ldmkit.engine.rehearsal import rehearse
from ldmkit.errors import UserError
from ldmkit.host.plugins import host


def euler(estimate, z, levels, *, eta: float = 0.0):
    return z


class Unbound(nn.Module):
    def forward(self, z, time):
        return z


class Nullless(training_toy.Words):
    null = None


class Reuser(training_toy.Denoiser):
    def bind_reusing(self, condition):
        return self.bind(condition)


class Sized(training_toy.Words):
    def default(self, count):
        return {}


class Shows(training_toy.Pictures):
    def view(self, index):
        return self[index]

    shown = None


class Finishing:
    def bind(self, estimate, request):
        return estimate

    def finish(self, image):
        return image


LATENT = SimpleNamespace(channels=3), SimpleNamespace(tokens=0), 3


@pytest.mark.parametrize(
    ("kind", "component", "said"),
    [
        (
            "denoiser",
            Reuser(*LATENT),
            ["'bind_reusing' is called with (condition, interval), but takes (cond"],
        ),
        ("conditioner", Sized(), ["'default' is called with (count, size), but takes (count)"]),
        ("data", Shows(), ["'view' is called with (index, fields, key), but takes (index)"]),
        ("guidance", Finishing(), ["'finish' is called with (image, request), but takes (image)"]),
        ("sampler", partial(euler, eta=1.0), ["it is called with (estimate, z, levels, noise), but takes"]),
        ("sampler", euler, ["it is called with"]),
        ("denoiser", Unbound(), ["it is called with (z, time, condition)", "has no method 'bind'"]),
        ("denoiser", nn.Module(), ["cannot be called", "has no method 'bind'"]),
        ("conditioner", Nullless(), ["has no method 'null'"]),
        ("denoiser", object(), ["is no torch.nn.Module"]),
        ("schedule", object(), ["has no 'timesteps'", "has no 'zero_snr'", "level", "draw", "invert"]),
        ("sampler", training_toy.euler, []),
        ("spacing", training_toy.evenly, []),
        ("objective", training_toy.Epsilon(), []),
        ("a kind without Protocol", object(), []),
    ],
)
def test_what_a_component_lacks_is_named(kind, component, said):
    found = misfits(kind, component)
    assert len(found) == len(said)
    for text, one in zip(said, found, strict=True):
        assert text in one


def test_a_recipe_with_such_a_component_is_not_assembled(monkeypatch):
    monkeypatch.delattr(training_toy.Denoiser, "bind")
    with pytest.raises(
        UserError, match=r"denoiser \(toy\): does not fit ldmkit.interfaces: has no method 'bind'"
    ):
        toy()


def test_a_property_is_not_asked_for_its_value():
    class Folder(training_toy.Pictures):
        @property
        def digest(self):
            raise AssertionError

    assert misfits("data", Folder()) == []


def test_every_component_that_needs_nothing_fits():
    """The installed components whose constructor needs no argument."""
    from inspect import isclass, signature

    looked_at = 0
    for entry in host().registry:
        if entry.kind not in ("sampler", "spacing", "schedule", "guidance"):
            continue
        component = entry.load()
        if isclass(component) and all(
            p.default is not p.empty for p in signature(component).parameters.values()
        ):
            component = component()
        if not isclass(component):
            assert misfits(entry.kind, component) == [], entry
            looked_at += 1
    assert looked_at > 20


def test_reuse_is_refused_by_a_plan_where_the_denoiser_has_none_of_it():
    with pytest.raises(UserError, match=r"sampler.reuse: the denoiser \(Denoiser\) has no deep features"):
        plan(toy("sampler.reuse=3"))


def test_a_denoiser_that_reuses_features_of_another_shape_is_refused(monkeypatch):
    wrong = lambda self, condition, interval: lambda z, time: z[:, :1]  # noqa: E731
    monkeypatch.setattr(training_toy.Denoiser, "bind_reusing", wrong, raising=False)
    system = toy("sampler.reuse=3")
    plan(system)
    with pytest.raises(UserError, match="the output of bind_reusing is 2x1x4x4, 2x3x4x4 is expected"):
        rehearse(system.to("meta"), (16, 16))
