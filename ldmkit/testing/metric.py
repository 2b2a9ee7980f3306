"""The contract of a metric: call `check_metric` from a test of yours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from ldmkit.interfaces import Metric


def check_metric(metric: Metric, evaluation: Any) -> Mapping[str, Any]:
    """AssertionError says which promise of `Metric` is broken; the figures.

    evaluation: a `ldmkit.evaluation.Evaluation`, or what has those of its methods that the metric calls.
    """
    before = torch.get_rng_state()
    figures = metric(evaluation)
    assert torch.equal(torch.get_rng_state(), before), "it draws from generators of its own"
    assert isinstance(figures, Mapping), "figures: a mapping by name"
    assert figures, "figures: there are some"
    plain = json.dumps(figures, sort_keys=True)  # raises for what JSON cannot hold
    again = json.dumps(metric(evaluation), sort_keys=True)
    assert again == plain, "the same evaluation gives the same figures"
    return figures
