"""What does not do what its Protocol says is refused by name before any stage is trained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import training_toy
from training_toy import toy, train

from ldmkit.engine.announced import misannounced
from ldmkit.errors import UserError
from ldmkit.training.promises import try_adapters
from ldmkit.training.run import train_stage
from ldmkit.types import Condition, Estimate, Posterior
from ldmkit.verbs.check import before_training, inspect

ADAPTER = "adapters={style: {name: toy, train: {steps: 2, batch: 4, lr: 1e-3}}}"


def raising(error):
    def method(*_, **__):
        raise error

    return method


def picture(**changes):
    original = training_toy.Pictures.__getitem__
    return lambda self, index: original(self, index) | changes


def encoded(words, prepared, factor, dtype=torch.float32):
    tokens = (words.table(prepared["ids"]) * factor).to(dtype)
    return Condition(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool))


def refused(monkeypatch, component, member, value, said, *overrides, call=None):
    monkeypatch.setattr(getattr(training_toy, component), member, value)
    with pytest.raises(UserError, match=said):
        call(toy(*overrides))


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("posterior", lambda self, image: (image, image), "tuple is no ldmkit.types.Posterior"),
        ("posterior", lambda self, x: Posterior(self.encoder(x)[:, :3], None, None), "penalty is NoneType"),
        ("posterior", lambda self, x: Posterior(self.encoder(x)[:, :3], x, x), "std is 2x3x16x16"),
        ("decode", lambda self, z: self.decoder(z).detach(), "decode: is not differentiable"),
    ],
)
def test_a_compression_model(member, value, said, monkeypatch):
    said = rf"compression \(toy\): .*{said}"
    refused(
        monkeypatch, "Autoencoder", member, value, said, call=lambda s: before_training(s, any_size=False)
    )


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("prepare", lambda self, raw: list(raw), "condition 'text': prepare: list is no dictionary"),
        ("prepare", lambda self, raw: {"ids": torch.ones(1, 2)}, "a tensor of 18 rows is expected"),
        ("prepare", raising(KeyError("captoin")), "data: example 0: KeyError: 'captoin'"),
        (
            "encode",
            lambda self, p, generator=None: self.table(p["ids"]),
            "Tensor is no .*Condition",
        ),
        (
            "encode",
            lambda self, p, generator=None: Condition(tokens=self.table(p["ids"])[:1]),
            "tokens is 1x12x8, 2 pictures of width 8",
        ),
        ("encode", raising(NameError("tabel")), "NameError: tabel"),
        ("encode", lambda self, p, generator=None: encoded(self, p, 1.0, torch.float64), "is torch.float64"),
        ("encode", lambda self, p, generator=None: encoded(self, p, float("nan")), "tokens is not finite"),
        (
            "encode",
            lambda self, p, generator=None: encoded(self, p, torch.rand(())),
            "encode: the same input",
        ),
        ("null", lambda self, like: Condition(tokens=like.tokens / 0), "null: tokens is not finite"),
        ("null", lambda self, like: Condition(tokens=self.empty), "null: tokens is 1x1x8, 2x12x8"),
    ],
)
def test_a_conditioner_and_the_data(member, value, said, monkeypatch, tmp_path):
    call = lambda system: train_stage(system, "compression", tmp_path, say=str)  # noqa: E731
    refused(monkeypatch, "Words", member, value, said, call=call)
    assert not [*tmp_path.rglob("step-*")]


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("fields", "caption", "fields is 'caption'"),
        ("digest", 5, "digest is 5"),
        ("skipped", None, "skipped is NoneType"),
        ("__getitem__", lambda self, i: (i, "word"), "an example is tuple"),
        (
            "__getitem__",
            picture(image=torch.rand(3, 16, 16)),
            "3x16x16 of torch.float32",
        ),
        ("__getitem__", picture(image=torch.zeros(16, 16, 3, dtype=torch.uint8)), "its image is 16x16x3"),
        ("__getitem__", picture(image=torch.zeros(3, 15, 15, dtype=torch.uint8)), "a multiple of 4"),
        ("split", raising(KeyError("validation")), "KeyError: 'validation'"),
    ],
)
def test_data(member, value, said, monkeypatch, tmp_path):
    call = lambda system: train_stage(system, "compression", tmp_path, say=str)  # noqa: E731
    refused(monkeypatch, "Pictures", member, value, f"data.*: .*{said}", call=call)


@pytest.mark.parametrize(
    ("component", "member", "value", "said"),
    [
        ("Pixel", "forward", lambda self, a, b: 1.0, r"loss \(toy\): .*returns float"),
        ("Pixel", "forward", lambda self, a, b: torch.ones(7, 5), "returns 7x5, pictures are 2x3x16x16"),
        ("Adversary", "trains", lambda self, step: "no", r"adversary \(toy\): .*trains gives 'no'"),
        ("Adversary", "weight", lambda self, step: None, "weight gives None"),
        ("Adversary", "generator_loss", lambda self, x: self.net(x), "generator_loss is 2x1x4x4"),
        ("Adversary", "balance", lambda self, a, b, gradient: None, "balance is NoneType"),
        ("Adversary", "discriminator_loss", lambda self, a, b: 1.0, "discriminator_loss is float"),
    ],
)
def test_losses_and_an_adversary_that_starts_late(component, member, value, said, monkeypatch, tmp_path):
    start = "train.compression.adversary={name: toy, start: 1000}"
    call = lambda system: train_stage(system, "compression", tmp_path, say=str)  # noqa: E731
    refused(monkeypatch, component, member, value, said, start, call=call)


def test_a_look_at_losses_and_adversary_changes_no_training(monkeypatch, tmp_path):
    def weights(runs):
        return train(runs, stages=("compression",), say=str).compression.state_dict()

    looked = weights(tmp_path / "a")
    monkeypatch.setattr("ldmkit.training.compression.try_losses", lambda *_: None)
    assert all(torch.equal(x, looked[name]) for name, x in weights(tmp_path / "b").items())


@pytest.mark.parametrize(
    ("component", "member", "value", "override", "said"),
    [
        (
            "Brightness",
            "forward",
            lambda self, f, i, level: f["into"].mean(),
            "auxiliary=[toy]",
            r"it is \(\)",
        ),
        ("Brightness", "forward", lambda self, f, i, level: f["out"], "auxiliary=[toy]", "KeyError: 'out'"),
        ("Brightness", "forward", lambda self, f, i, level: torch.ones(2), "auxiliary=[toy]", "not depend"),
        ("Momentum", "__call__", lambda self, groups: None, "optimizer=toy", "returns NoneType"),
        (
            "Momentum",
            "__call__",
            lambda self, groups: torch.optim.SGD([p for g in groups for _, p in g["params"]], lr=1),
            "optimizer=toy",
            "'factor'",
        ),
        (
            "Imitation",
            "__call__",
            lambda self, *_: torch.ones(2),
            "distillation=toy",
            "on the student",
        ),
    ],
)
def test_what_the_second_stage_is_trained_with(component, member, value, override, said, monkeypatch):
    call = lambda system: before_training(system, any_size=False)  # noqa: E731
    options = ("train.diffusion.weight_decay=0", f"train.diffusion.{override}")
    refused(monkeypatch, component, member, value, said, *options, call=call)


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("state", lambda self: [1], "state gives list"),
        ("state", lambda self: {"shift": torch.zeros(8)}, "no weights that could be trained"),
        ("attach", raising(AttributeError("into")), "AttributeError: into"),
        ("set_strength", raising(KeyError("style")), "KeyError: 'style'"),
    ],
)
def test_an_adapter(member, value, said, monkeypatch):
    refused(monkeypatch, "Shift", member, value, rf"adapter \(toy\): .*{said}", ADAPTER, call=try_adapters)


class Broken:
    def __init__(self, *, how: str = "") -> None:
        self.how = how

    def bind(self, estimate, request):
        if self.how == "nothing":
            return lambda z, level, wanted: None
        if self.how == "bare":
            return lambda z, level, wanted: estimate(z, level, wanted)[0]
        if self.how == "halved":
            return lambda z, level, wanted: [Estimate(z[:1], z[:1]) for _ in wanted]
        return estimate


@pytest.mark.parametrize(
    ("how", "said"),
    [("nothing", "NoneType, a list of one"), ("bare", "Estimate, a list"), ("halved", "clean is 1x3x4x4")],
)
def test_guidance(how, said, monkeypatch):
    monkeypatch.setattr(training_toy, "Broken", Broken, raising=False)
    monkeypatch.setitem(training_toy.COMPONENTS, ("guidance", "toy"), "Broken")
    inspect(toy("guidance=[toy]").recipe, training_toy.registry())
    with pytest.raises(UserError, match=rf"guidance \(toy\): .*{said}"):
        inspect(toy(f"guidance=[{{name: toy, how: {how}}}]").recipe, training_toy.registry())


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"a": "text"}, None),
        ("text", "kinds is str, no mapping of fields"),
        ({"b": "text"}, "kinds names 'b', which is none of fields"),
        ({"a": "words"}, "kinds says 'words' of 'a'; there are: text, label"),
    ],
)
def test_what_guidance_says_of_its_fields(kinds, said):
    found = misannounced("guidance", SimpleNamespace(fields=("a",), kinds=kinds))
    assert bool(found) is (said is not None)
    assert all(said in line for line in found)


@pytest.mark.parametrize(
    ("kind", "override", "members", "said"),
    [
        ("metric", "evaluate.metrics=[toy]", {"__call__": lambda self: {}}, "it is called with .evaluation"),
        ("metric", "evaluate.metrics=[toy]", {}, "cannot be called"),
        (
            "callback",
            "train.callbacks=[toy]",
            {"figures": lambda self, step: None},
            "'figures' is called with",
        ),
    ],
)
def test_methods_of_what_is_built_late_are_compared_first(kind, override, members, said, monkeypatch):
    monkeypatch.setattr(training_toy, "Late", type("Late", (), members), raising=False)
    monkeypatch.setitem(training_toy.COMPONENTS, (kind, "toy"), "Late")
    with pytest.raises(UserError, match=rf"{kind} \(toy\): does not fit ldmkit.interfaces: .*{said}"):
        inspect(toy(override).recipe, training_toy.registry())
