"""Foreign files, opened so that nothing in them runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor

from ldmkit.checkpoint.files import read_tensors
from ldmkit.errors import UserError

MAX_CONFIG = 2**20
"""Bytes of a configuration file, at most."""


def read_single_file(path: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors` file or a `.ckpt` (`weights_only`: tensors and plain data alone).

    Raises UserError for anything else, and for a file that would run code; nothing of it has run then.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"{path}: no checkpoint of tensors and plain data alone; nothing else is unpickled ({reason})"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path}: holds no state dict of tensors")
    return dict(state)


def read_yaml(path: Path) -> dict[str, Any]:
    """A published YAML configuration, as plain data; UserError where it is none."""
    return _mapping(path, yaml.safe_load)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; UserError where it does not."""
    return _mapping(path, json.loads)


def _mapping(path: Path, parse: Any) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise UserError(f"{path}: larger than a configuration is ({MAX_CONFIG} bytes)")
        value = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no mapping")
    return value
