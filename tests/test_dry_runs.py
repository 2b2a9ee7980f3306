"""The dry pass runs what sampling and what training run: both modes, and a denoiser bound to conditions."""

from __future__ import annotations

import pytest
import torch
import training_toy
import training_toy_model
from training_toy import toy, train

from ldmkit.errors import UserError
from ldmkit.training.data_report import report_data
from ldmkit.types import Condition
from ldmkit.verbs import check
from ldmkit.verbs.check import before_training, inspect, try_numbers


def looked_at(*overrides: str) -> None:
    before_training(toy(*overrides), any_size=False)


def only(mode: bool, original, wrong):
    """The method, which does what is `wrong` in training (True) or evaluation mode."""

    def method(self, *inputs):
        return wrong(self, *inputs) if self.training is mode else original(self, *inputs)

    return method


def failing(self, *inputs):
    raise RuntimeError("metadata are missing")


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize(
    ("component", "member", "kind"),
    [
        ("Denoiser", "forward", "denoiser"),
        ("Autoencoder", "posterior", "compression"),
        ("Autoencoder", "decode", "compression"),
        ("Words", "null", "conditioner"),
    ],
)
def test_what_fails_in_one_mode_alone_is_named_before_any_stage_trains(
    component, member, kind, mode, monkeypatch
):
    owner = getattr(training_toy, component)
    monkeypatch.setattr(owner, member, only(mode, getattr(owner, member), failing))
    wrong = "fails in training mode" if mode else "does not fit its neighbours"
    with pytest.raises(UserError, match=rf"{kind} \(toy\): {wrong}: RuntimeError: metadata are missing"):
        looked_at()


def test_a_mode_that_no_training_uses_may_fail(monkeypatch):
    """Of a model that is only drawn with, training mode; of a frozen conditioner, too."""
    original = training_toy.Denoiser.forward
    monkeypatch.setattr(training_toy.Denoiser, "forward", only(True, original, failing))
    looked_at("train.diffusion=null")
    monkeypatch.undo()
    null = training_toy.Words.null

    def frozen(self, like):
        return failing(self) if self.training and not self.empty.requires_grad else null(self, like)

    monkeypatch.setattr(training_toy.Words, "null", frozen)
    looked_at()


def test_a_conditioner_whose_encoding_fails_in_training_mode_is_named_with_the_data(monkeypatch):
    encode = training_toy.Words.encode
    narrow = lambda self, *inputs: Condition(tokens=encode(self, *inputs).tokens[..., :3])  # noqa: E731
    monkeypatch.setattr(training_toy.Words, "encode", only(True, encode, narrow))
    with pytest.raises(UserError, match=r"conditioner \(toy\): fails in training mode: .*width 8 announced"):
        report_data(toy())


def test_a_conditioner_is_left_as_it_was_by_the_look_at_its_training_mode(monkeypatch):
    words = training_toy.Words

    class Counting(words):
        def __init__(self, **options):
            super().__init__(**options)
            self.norm = torch.nn.BatchNorm1d(8)

        def encode(self, prepared, generator=None):
            condition = super().encode(prepared, generator)
            return Condition(tokens=self.norm(condition.tokens.mT).mT, mask=condition.mask)

    monkeypatch.setattr(training_toy, "Words", Counting)
    system = toy()
    before = {name: x.clone() for name, x in system.state_dict().items()}
    state = torch.get_rng_state()
    report_data(system)
    assert all(torch.equal(x, before[name]) for name, x in system.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in system.modules())


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (lambda self, condition: lambda z: z, "TypeError"),
        (lambda self, condition: lambda z, time: z[:1], "output of bind is 1x3x4x4, 2x3x4x4 is expected"),
        (lambda self, condition: once(lambda z, time: z), "RuntimeError: called again"),
    ],
)
def test_a_denoiser_whose_bound_call_does_not_fit_is_named(bound, said, monkeypatch):
    monkeypatch.setattr(training_toy.Denoiser, "bind", bound)
    with pytest.raises(UserError, match=rf"denoiser \(toy\): does not fit its neighbours: .*{said}"):
        looked_at()


def test_a_denoiser_that_takes_one_batch_size_alone_is_named(monkeypatch):
    """Guidance asks for a condition and its null condition in one batch, twice as large."""

    def bind(self, condition):
        if len(condition.tokens) != 2:
            raise KeyError("of two pictures only")
        return lambda z, time: self(z, time, condition)

    monkeypatch.setattr(training_toy.Denoiser, "bind", bind)
    with pytest.raises(UserError, match=r"denoiser \(toy\): .*KeyError: 'of two pictures only'"):
        looked_at()


def test_bind_is_looked_at_where_forward_needs_numbers(monkeypatch):
    forward = training_toy.Denoiser.forward
    needy = lambda self, z, time, condition: forward(self, z * float(time.sum()), time, condition)  # noqa: E731
    monkeypatch.setattr(training_toy.Denoiser, "forward", needy)
    looked_at()
    monkeypatch.setattr(training_toy.Denoiser, "bind", lambda self, condition: lambda z: z)
    with pytest.raises(UserError, match=r"denoiser \(toy\): .*TypeError"):
        looked_at()


def once(function):
    calls = []

    def bound(*inputs):
        if calls:
            raise RuntimeError("called again")
        calls.append(1)
        return function(*inputs)

    return bound


def blind(self, condition):
    """Bound to no condition."""
    mask = torch.zeros_like(condition.mask)
    mask[:, 0] = True
    return lambda z, time: self(z, time, Condition(tokens=condition.tokens * 0, mask=mask))


@pytest.mark.parametrize("silent", [False, True])
def test_a_denoiser_that_is_another_one_when_it_is_bound_is_named(silent, monkeypatch):
    """Also where its last layer begins as zeros, so that nothing shows."""
    system = toy()
    if silent:
        torch.nn.init.zeros_(system.denoiser.out.weight)
        torch.nn.init.zeros_(system.denoiser.out.bias)
    before = {name: x.clone() for name, x in system.state_dict().items()}
    before_training(system, any_size=False)
    assert all(torch.equal(x, before[name]) for name, x in system.state_dict().items())
    monkeypatch.setattr(training_toy.Denoiser, "bind", blind)
    said = r"denoiser \(toy\): .*output of bind is another one than that of a call with the same condition"
    with pytest.raises(UserError, match=said):
        before_training(system, any_size=False)


def test_check_names_such_a_denoiser_too_without_weights_or_data(monkeypatch):
    recipe = toy().recipe
    try_numbers(inspect(recipe, training_toy.registry()))
    monkeypatch.setattr(training_toy.Denoiser, "bind", blind)
    system = inspect(recipe, training_toy.registry())
    with pytest.raises(UserError, match=r"denoiser \(toy\): .*output of bind is another one"):
        try_numbers(system)
    assert all(x.is_meta for x in system.parameters())
    monkeypatch.setattr(check, "PARAMETERS", 1)
    try_numbers(system)  # a large one is left to the training


@pytest.mark.parametrize("mode", [True, False])
def test_an_adapter_under_which_the_denoiser_fails_is_named(mode, monkeypatch):
    forward = training_toy_model.Shifted.forward
    monkeypatch.setattr(training_toy_model.Shifted, "forward", only(mode, forward, failing))
    wrong = "fails in training mode" if mode else "does not do what ldmkit.interfaces says"
    with pytest.raises(UserError, match=rf"adapter \(toy\): {wrong}: RuntimeError: metadata are missing"):
        looked_at("adapters={style: {name: toy, train: {steps: 2, batch: 4, lr: 1e-3}}}")


def test_an_adversary_that_fails_in_training_mode_is_named_before_the_first_step(monkeypatch, tmp_path):
    """It would begin only at its third step."""
    loss = training_toy.Adversary.generator_loss
    monkeypatch.setattr(training_toy.Adversary, "generator_loss", only(True, loss, failing))
    with pytest.raises(UserError, match=r"adversary \(toy\): fails in training mode: RuntimeError"):
        train(tmp_path, stages=("compression",))
    assert not list(tmp_path.glob("toy/*/step-*"))
