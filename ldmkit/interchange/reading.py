"""Foreign files, opened so that nothing in them runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ldmkit.checkpoint.files import read_tensors
from ldmkit.errors import UserError


class LeftAside:
    """Stands for a class that published files name and nobody reads; it does nothing."""


NAMED_ONLY: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (LeftAside, "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
]
"""Training code names this class as a dictionary key of nearly every published file."""
MAX_CONFIG = 2**20
"""Bytes of a configuration file, at most."""


def read_single_file(path: Path) -> dict[str, Tensor]:
    """The state dict in a `.safetensors` file or a `.ckpt` (`weights_only`: tensors and plain data alone).

    Raises UserError for anything else, and for a file that would run code; nothing of it has run then.
    """
    if path.suffix == ".safetensors":
        return read_tensors(path)
    try:
        with torch.serialization.safe_globals(NAMED_ONLY):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle fails in every way there is
        raise UserError(
            f"{path}: no checkpoint of tensors and plain data alone; "
            f"nothing else is unpickled ({_first_line(error)})"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(_is_entry(*entry) for entry in state.items()):
        raise UserError(f"{path}: holds no state dict of tensors")
    return dict(state)


def number(section: Mapping[str, Any], key: str, default: float) -> float:
    """A number of a configuration; UserError where something else stands there."""
    value = section.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"the configuration's {key} is no number: {value!r}")
    return float(value)


def _is_entry(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


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
        raise UserError(f"{path}: cannot be read ({_first_line(error)})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no mapping")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
