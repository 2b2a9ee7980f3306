"""The contract of a metric: call `check_metric` from a test of yours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import torch

from ldmkit.interfaces import Metric, MetricInput


class Offered:
    """An evaluation of which only the members that `MetricInput` declares can be used."""

    def __init__(self, evaluation: MetricInput) -> None:
        self._evaluation = evaluation

    def __getattr__(self, name: str) -> Any:
        assert hasattr(MetricInput, name), f"it asks an evaluation for '{name}', which MetricInput has not"
        return getattr(self._evaluation, name)


def check_metric(metric: Metric, evaluation: MetricInput) -> Mapping[str, Any]:
    """The figures of a metric, after a check that they can be stored as JSON, repeat, and leave torch's
    random generator as it was.

    evaluation: an `ldmkit.evaluation.Evaluation`, or an object with those members of `MetricInput` that the
    metric uses.

    Raises AssertionError naming the promise of `Metric` that is broken.
    """
    # A cast, since its members are looked up when the metric asks for them.
    offered = cast(MetricInput, Offered(evaluation))
    before = torch.get_rng_state()
    figures = metric(offered)
    assert torch.equal(torch.get_rng_state(), before), "it draws from generators of its own"
    assert isinstance(figures, Mapping), "figures: a mapping by name"
    assert figures, "figures: there are some"
    plain = json.dumps(figures, sort_keys=True)  # raises for what JSON cannot hold
    again = json.dumps(metric(offered), sort_keys=True)
    assert again == plain, "the same evaluation gives the same figures"
    return figures
