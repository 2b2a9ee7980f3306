"""An evaluation keeps what it has measured: a metric that fails takes no others with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_toy
from PIL import Image
from training_toy import toy

from ldmkit.errors import UserError
from ldmkit.pictures.sheet import Row, Section
from ldmkit.verbs.evaluate import evaluate

COLOURS = {"first": "red", "second": "blue", "third": "lime"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Metrics `first`, `second` and `third` and how often each was asked; `second` does what "fails" says."""
    held: dict[str, Any] = {"first": 0, "second": 0, "third": 0, "fails": None}

    def metric(name: str) -> type:
        class Counted:
            def __init__(self, *, scale: int = 1) -> None:
                self.scale = scale

            def __call__(self, evaluation: Any) -> dict[str, int]:
                held[name] += 1
                picture = Image.new("RGB", (4, 4), COLOURS[name])
                evaluation.sections.append(Section(name, ("one",), (Row("a", "b", (picture,)),)))
                if name == "second" and held["fails"] is not None:
                    raise held["fails"]
                return {"figure": held[name] * self.scale}

        return Counted

    for name in COLOURS:
        monkeypatch.setattr(training_toy, name, metric(name), raising=False)
        monkeypatch.setitem(training_toy.COMPONENTS, ("metric", name), name)
    return held


def fresh(*overrides: str) -> Any:
    """A system whose weights are the same every time."""
    torch.manual_seed(0)
    return toy("evaluate.metrics=[first, second, third]", *overrides)


@pytest.fixture
def system(calls: dict[str, Any]) -> Any:
    return fresh()


def written(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "metrics.json").read_text())
    return {one["name"]: one["figures"] for one in report["metrics"]}


def shown(folder: Path) -> set[str]:
    """Whose colours the contact sheet shows."""
    with Image.open(folder / "contact.png") as sheet:
        colours = {tuple(c) for c in np.asarray(sheet.convert("RGB")).reshape(-1, 3).tolist()}
    rgb = {"first": (255, 0, 0), "second": (0, 0, 255), "third": (0, 255, 0)}
    return {name for name, colour in rgb.items() if colour in colours}


def test_what_other_metrics_measured_is_written_and_not_measured_again(
    calls: dict[str, Any], system: Any, tmp_path: Path
) -> None:
    calls["fails"] = RuntimeError("too late")
    with pytest.raises(UserError, match=r"^[^\n]*metric \(second\): cannot measure: RuntimeError: too late$"):
        evaluate(system, tmp_path)
    assert written(tmp_path) == {"first": {"figure": 1}, "third": {"figure": 1}}
    assert shown(tmp_path) == {"first", "third"}
    calls["fails"], said = None, []
    report = evaluate(system, tmp_path, say=said.append)
    assert (calls["first"], calls["second"], calls["third"]) == (1, 2, 1)
    assert [one["name"] for one in report["metrics"]] == ["first", "second", "third"]
    assert written(tmp_path) == {"first": {"figure": 1}, "third": {"figure": 1}, "second": {"figure": 2}}
    assert shown(tmp_path) == {"first", "second", "third"}
    again = f"measured before; remove {tmp_path / 'metrics.json'} to measure it again"
    assert said == [f"metric (first): {again}", f"metric (third): {again}"]


def test_an_interruption_leaves_what_was_measured_before_it(
    calls: dict[str, Any], system: Any, tmp_path: Path
) -> None:
    calls["fails"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        evaluate(system, tmp_path)
    assert written(tmp_path) == {"first": {"figure": 1}}


def weights(system: Any) -> Any:
    with torch.no_grad():
        next(system.denoiser.parameters()).add_(0.5)
    return system


@pytest.mark.parametrize(
    "change",
    [
        weights,
        lambda _: fresh("sampler.steps=4"),
        lambda _: fresh("data.count=24"),
    ],
)
def test_nothing_is_kept_of_other_weights_settings_or_data(
    change: Callable[[Any], Any], calls: dict[str, Any], system: Any, tmp_path: Path
) -> None:
    evaluate(system, tmp_path)
    evaluate(change(system), tmp_path)
    assert written(tmp_path) == {name: {"figure": 2} for name in COLOURS}


def test_a_metric_with_other_parameters_is_another_one(
    calls: dict[str, Any], system: Any, tmp_path: Path
) -> None:
    evaluate(system, tmp_path)
    report = evaluate(fresh("evaluate.metrics=[{name: first, scale: 10}, second]"), tmp_path)
    assert [one["figures"] for one in report["metrics"]] == [{"figure": 20}, {"figure": 1}]


def test_a_report_that_cannot_be_read_is_written_anew(
    calls: dict[str, Any], system: Any, tmp_path: Path
) -> None:
    for content in (b"[]", b"{", b'{"metrics": 3}', b"\xff"):
        (tmp_path / "metrics.json").write_bytes(content)
        evaluate(system, tmp_path)
        assert written(tmp_path).keys() == COLOURS.keys()
