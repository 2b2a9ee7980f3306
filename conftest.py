"""Fixtures of all tests, the core's and the plugins'."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # `pytest -n`: each worker, and what it starts, has one core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more of them are processes of their own


@pytest.fixture(scope="session", autouse=True)
def quick_disk() -> Iterator[None]:
    """No power fails in a test, so that nothing waits for the disk; test_disk_faults counts the syncs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own, so that they neither read nor change the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDMKIT_CACHE", str(folder))
        yield folder
