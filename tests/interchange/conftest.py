"""The published models at reduced width: configurations and figures in tests/fixtures/reference, weights made
from the names of their keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from published_weights import made_up
from safetensors.torch import load_file

import ldmkit
from ldmkit.interchange import import_model

ROOT = Path(__file__).parents[2]
PLACES = (ROOT / "tests/fixtures/reference", ROOT / "plugins/ldmkit-autoencoders/tests/fixtures")


@dataclass(frozen=True)
class Reference:
    """One published model."""

    folder: Path

    @property
    def config(self):
        return self.folder / "config.yaml"

    @property
    def io(self):
        return load_file(self.folder / "io.safetensors")

    def state(self):
        """The checkpoint's state dict."""
        shapes = json.loads((self.folder / "keys.json").read_text())["weights"]
        buffers = self.folder / "buffers.safetensors"
        weights = {key: made_up(key, shape) for key, shape in shapes.items()}
        return weights | (load_file(buffers) if buffers.exists() else {})


def find(name):
    return Reference(next(place / name for place in PLACES if (place / name).is_dir()))


@pytest.fixture(scope="session")
def reference():
    """Reference models by name."""
    return find


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A reference model's single file by name."""

    @cache
    def write(name):
        path = tmp_path_factory.mktemp("checkpoints") / f"{name}.ckpt"
        torch.save({"state_dict": find(name).state(), "global_step": 1234}, path)
        return path

    return write


@pytest.fixture(scope="session")
def imported(tmp_path_factory, checkpoint):
    """Recipes of imported reference models by name and choice of weights."""

    @cache
    def run(name, weights=None):
        out = tmp_path_factory.mktemp("imported") / name
        return import_model(checkpoint(name), out, find(name).config, weights, lambda line: None)

    return run


@pytest.fixture(scope="session")
def system(imported):
    """Systems of imported reference models."""
    return cache(lambda name, weights=None: ldmkit.build(imported(name, weights)))


@pytest.fixture(scope="session")
def error():
    """||a - b|| / ||b||."""
    return lambda a, b: ((a - b).norm() / b.norm()).item()


@pytest.fixture
def noise():
    """x_T of one latent."""
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))
