"""`SpatialRescaler` of the published single file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ldmkit.errors import did_you_mean

RENAMED = {"n_stages": "stages", "in_channels": "classes", "out_channels": "channels"}
DEFAULTS = {"stages": 1, "classes": 3, "channels": None, "method": "bilinear", "bias": False}
"""What the published class takes where its configuration is silent."""


class CompvisSpatialRescaler:
    """`config` is the published class's `params`; the tensors have the same names here."""

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """spatial-rescaler's parameters; ValueError for what it cannot be."""
        known = {*RENAMED, "method", "bias", "multiplier"}
        for key in config:
            if key not in known:
                raise ValueError(f"unknown key '{key}'{did_you_mean(key, known)}")
        if config.get("multiplier", 0.5) != 0.5:
            raise ValueError(f"multiplier: {config['multiplier']} is not supported; only 0.5")
        given = {RENAMED.get(key, key): value for key, value in config.items() if key != "multiplier"}
        made = {**DEFAULTS, **given}
        if made["channels"] is None:
            raise ValueError("out_channels: missing; without it the map is not encoded")
        return made

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The published params; the reverse of `parameters`."""
        return {
            "n_stages": parameters.get("stages", 2),
            "in_channels": parameters.get("classes", 182),
            "out_channels": parameters.get("channels", 3),
            "method": parameters.get("method", "bilinear"),
            "bias": parameters.get("bias", False),
        }

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict; ValueError names every key left over or missing."""
        wanted = set(module.state_dict())
        problems = [f"missing {n}" for n in sorted(wanted - set(tensors))]
        problems += [f"left over {n}" for n in sorted(set(tensors) - wanted)]
        if problems:
            raise ValueError("; ".join(problems))
        return dict(tensors)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict, whose names are the published ones."""
        return dict(module.state_dict())
