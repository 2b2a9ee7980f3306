"""The key map of the published single file's `SpatialRescaler`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit.keymaps import Rule, check_entries

RENAMED = {"n_stages": "stages", "in_channels": "classes", "out_channels": "channels"}
DEFAULTS = {"stages": 1, "classes": 3, "channels": None, "method": "bilinear", "bias": False}
"""What the published class takes where its configuration is silent."""


class CompvisSpatialRescaler:
    """The published class `SpatialRescaler`, whose tensors have the same names as here; `config` is its
    `params`."""

    classes = ("ldm.modules.encoders.modules.SpatialRescaler",)
    condition = "segmentation"

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of spatial-rescaler. Raises ValueError for a configuration that it cannot have."""
        check_entries(config, (*RENAMED, "method", "bias"), fixed={"multiplier": (0.5,)})
        config_values = {RENAMED.get(key, key): value for key, value in config.items() if key != "multiplier"}
        values = {**DEFAULTS, **config_values}
        if values["channels"] is None:
            raise ValueError("out_channels: missing; without it the map is not encoded")
        return values

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
        return keymaps.load(self._rules(module), tensors, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict, whose names are the published ones."""
        return keymaps.save(self._rules(module), module)

    def _rules(self, module: nn.Module) -> list[Rule]:
        return [Rule(name, (name,)) for name in module.state_dict()]
