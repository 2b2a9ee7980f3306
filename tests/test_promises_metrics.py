"""A metric that does not do what its Protocol says is refused by name, and what its figures lack is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_toy
from test_promises import raising
from training_toy import toy

from ldmkit.errors import UserError
from ldmkit.verbs.evaluate import evaluate


class Measure:
    figures: object = None

    def __call__(self, evaluation):
        return self.figures


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (None, "gives NoneType"),
        ("good", "gives str"),
        ({"a": torch.ones(2)}, "it.a is Tensor"),
        ({"a": {"b": object()}}, "it.a.b is object"),
        ({"a": torch.ones(()), "b": np.float32(2), "c": float("nan"), "d": [1]}, None),
    ],
)
def test_a_metric(figures, said, monkeypatch, tmp_path):
    monkeypatch.setattr(Measure, "figures", figures)
    monkeypatch.setattr(training_toy, "Measure", Measure, raising=False)
    monkeypatch.setitem(training_toy.COMPONENTS, ("metric", "toy"), "Measure")
    system = toy("evaluate.metrics=[toy]")
    if said is None:
        (result,) = evaluate(system, tmp_path)["metrics"]
        assert result["figures"] == {"a": 1.0, "b": 2.0, "c": None, "d": [1]}
        return
    with pytest.raises(UserError, match=rf"metric \(toy\): cannot measure: .*{said}"):
        evaluate(system, tmp_path)
    assert not [*tmp_path.glob("metrics*")]


@pytest.fixture
def metric(monkeypatch):
    """A system with one metric, which does what it is given, and has `members` besides."""

    def make(call, **members):
        measure = type("Measure", (), {"__call__": lambda self, evaluation: call(evaluation), **members})
        monkeypatch.setattr(training_toy, "Measure", measure, raising=False)
        monkeypatch.setitem(training_toy.COMPONENTS, ("metric", "toy"), "Measure")
        return toy("evaluate.metrics=[toy]")

    return make


@pytest.mark.parametrize(
    ("call", "reads", "said"),
    [
        (raising(SystemExit(0)), (), "cannot measure: SystemExit: 0"),
        (
            lambda evaluation: evaluation.sections.append(None) or {"a": 1},
            (),
            "something else than a Section",
        ),
        (lambda evaluation: {"a": 1}, None, "reads is None, no sequence of names"),
        (lambda evaluation: {"a": 1}, "caption", "reads is 'caption', no sequence of names"),
        (lambda evaluation: {"a": 1}, ("depth",), "reads depth, which the data lack; they have caption"),
    ],
)
def test_a_metric_that_cannot_be_used_is_named(call, reads, said, metric, tmp_path):
    with pytest.raises(UserError, match=rf"metric \(toy\): .*{said}"):
        evaluate(metric(call, reads=reads), tmp_path)


def test_figures_that_are_none_are_told(metric, tmp_path):
    figures = {"a": float("nan"), "b": {"c": [float("inf"), 1.0]}, "d": "\ud800"}
    lines = []
    report = evaluate(metric(lambda evaluation: figures), tmp_path, say=lines.append)
    assert report["metrics"][0]["figures"] == {"a": None, "b": {"c": [None, 1.0]}, "d": "\\ud800"}
    assert "metric (toy): a, b.c: not finite, null in metrics.json" in lines
