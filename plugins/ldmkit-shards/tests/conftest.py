"""Every test of shards has a working directory and a cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
