"""A tiny random CLIP in open_clip's own layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

VISION = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2}
CONFIG: dict[str, Any] = {"embed_dim": 6, "vision_cfg": VISION, "text_cfg": TEXT}
PREPROCESSING = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}


def write(folder: Path, *, text: dict[str, Any] | None = None, custom: bool = False) -> Path:
    """A folder with a configuration and weights drawn at random, large enough to tell pictures apart."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "text_cfg": {**TEXT, **(text or {})}, "custom_text": custom}
    stored = {"model_cfg": config, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(stored), encoding="utf-8")
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    state = {n: x + 0.1 * torch.randn_like(x) if x.ndim else x for n, x in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def write_clip(tmp_path: Path) -> Callable[..., Path]:
    """write_clip(name, text={...}, custom=True): a folder of that name."""
    return lambda name, **changes: write(tmp_path / name, **changes)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder that no other test has read, so that nothing is shared through the cache of networks."""
    return write(tmp_path / "tiny")
