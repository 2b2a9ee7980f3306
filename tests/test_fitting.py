"""Components that do not fit their Protocol are refused when they are built, not after a training."""

from __future__ import annotations

from functools import partial

import pytest
import training_toy
from torch import nn
from training_toy import toy

from ldmkit.engine.fitting import misfits
from ldmkit.errors import UserError
from ldmkit.host.plugins import host


def euler(estimate, z, levels, *, eta: float = 0.0):
    return z


class Unbound(nn.Module):
    def forward(self, z, time):
        return z


class Nullless(training_toy.Words):
    null = None


@pytest.mark.parametrize(
    ("kind", "component", "said"),
    [
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
