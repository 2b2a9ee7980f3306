"""Foreign configurations, opened so that nothing in them runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ldmkit.disk import read_text
from ldmkit.errors import UserError, first_line
from ldmkit.keymaps import short

LARGEST = 3.4e38
"""What float32 holds."""
MAX_CONFIG = 2**20
"""Bytes of a configuration file, at most."""


def number(section: Mapping[str, Any], key: str, default: float) -> float:
    """The number under a key of a configuration; `default` where the key is absent or null.

    Raises UserError for anything but a finite number that float32 can hold.
    """
    value = section.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        raise UserError(f"the configuration's {key} is no number that float32 holds: {short(value)}")
    return float(value)


def read_yaml(path: Path) -> dict[str, Any]:
    """A published YAML configuration, as plain data; UserError where it is none."""
    return _mapping(path, yaml.safe_load)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; UserError where it does not."""
    return _mapping(path, json.loads)


def _mapping(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no file (it is a folder or a device)")
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise UserError(f"{path}: larger than a configuration is ({MAX_CONFIG} bytes)")
        value = parse(read_text(path))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no mapping of keys to values")
    return value
