"""The contract of a metric: call `check_metric` from a test of yours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import torch

from ldmkit.interfaces import Metric, MetricInput


class Offered:
    """An evaluation that shows only what `MetricInput` has."""

    def __init__(self, evaluation: MetricInput) -> None:
        self._evaluation = evaluation

    def __getattr__(self, name: str) -> Any:
        assert hasattr(MetricInput, name), f"it asks an evaluation for '{name}', which MetricInput has not"
        return getattr(self._evaluation, name)


def check_metric(metric: Metric, evaluation: MetricInput) -> Mapping[str, Any]:
    """AssertionError says which promise of `Metric` is broken; the figures.

    evaluation: an `ldmkit.evaluation.Evaluation`; a stand-in needs only those members of `MetricInput` that
    the metric uses.
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
