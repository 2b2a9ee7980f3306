"""Recipes larger than the machine are refused while their models are built, with what they would take."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldmkit.engine import limits
from ldmkit.errors import UserError


def test_a_model_that_memory_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 4000)
    with limits.bounded("small"):
        nn.Linear(10, 10)
    said = r"recipe 'large': .* more than 4.08 kB of memory, and 4 kB are free"  # 4 x (20 x 20 + 20 + 600)
    with pytest.raises(UserError, match=said), limits.bounded("large"):
        nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 30))
    with limits.bounded("without memory"), torch.device("meta"):
        nn.Linear(10_000, 10_000)
    nn.Linear(100, 100)  # outside, nothing counts


def test_layers_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(limits, "MODULES", 10)
    with limits.bounded("deep"):
        nn.Sequential(*(nn.Identity() for _ in range(10)))
    with pytest.raises(UserError, match="over 10 modules"), limits.bounded("deep"):
        nn.Sequential(*(nn.Identity() for _ in range(11)))


def test_free_memory_heeds_the_containers_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    whole = limits.free_memory()
    assert whole > 10**8
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert limits.free_memory() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.free_memory() > 10**8
