"""A stranger's plugin: a denoiser, its key map for the paper's single file, and a format of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit.artifacts import read_safetensors
from ldmkit.host.registry import Registry
from ldmkit.interchange import ImportOptions, Published
from ldmkit.interchange.model import config_of, save_part
from ldmkit.keymaps import Rule, check_entries
from ldmkit.types import Condition, ConditionSpec, Latent, LatentSpec, PerPicture


class PatchNet(nn.Module):
    """Two 1x1 layers of z_t, told the time by a sine.

    Args:
        width: channels between the layers.
    """

    def __init__(
        self, latent: LatentSpec, conditions: ConditionSpec, out_channels: int, *, width: int = 8
    ) -> None:
        super().__init__()
        self.latent, self.conditions = latent, conditions
        self.first = nn.Linear(latent.channels + 1, width)
        self.second = nn.Linear(width, out_channels)

    def forward(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output."""
        return self.bind(condition)(z, time)

    def bind(self, condition: Condition) -> Callable[[Latent, PerPicture], Latent]:
        """The network; it has no conditions."""

        def bound(z: Latent, time: PerPicture) -> Latent:
            told = time.to(z).sin().reshape(-1, 1, 1, 1).expand(len(z), 1, *z.shape[2:])
            x = torch.cat([z, told], 1).movedim(1, -1)
            return self.second(torch.tanh(self.first(x))).movedim(-1, 1)

        return bound


class PatchNetKeys:
    """The published class writes its layers as 1x1 convolutions."""

    classes = ("strange.models.PatchNet",)
    rules = tuple(
        Rule(f"{own}.{kind}", (f"{theirs}.{kind}",), axes=4 if kind == "weight" else None)
        for own, theirs in (("first", "in_conv"), ("second", "out_conv"))
        for kind in ("weight", "bias")
    )

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters."""
        check_entries(config, ("hidden",), required=("hidden",))
        return {"width": config["hidden"]}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Published parameters."""
        return {"hidden": parameters["width"]}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Our tensors."""
        return keymaps.load(self.rules, tensors, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """Published tensors."""
        return keymaps.save(self.rules, module)


class StrangeFile:
    """One safetensors file of a model of pixels, its configuration in the metadata's place beside it."""

    def accepts(self, source: Path) -> bool:
        """By its suffix."""
        return source.suffix == ".strange"

    def read(self, registry: Registry, source: Path, options: ImportOptions) -> Published:
        """The model taken apart."""
        config = json.loads(source.with_suffix(".json").read_text())
        recipe = {
            "compression": {"name": "identity"},
            "denoiser": {"name": "patch-net", **PatchNetKeys().parameters(config)},
            "sample": {"size": [8, 8]},
        }
        return Published(recipe, {"denoiser": read_safetensors(source)}, notes=["a strange file"])

    def write(self, system: Any, out: Path) -> None:
        """The file and its configuration."""
        save_file(save_part(system, "denoiser", "strange"), out / "model.strange")
        (out / "model.json").write_text(json.dumps(config_of(system, "denoiser", "strange")))
