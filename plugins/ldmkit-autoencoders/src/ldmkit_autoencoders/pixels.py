"""Published formats of pixel models: the first stage is absent, or a class without tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ldmkit import keymaps


class DiffusersIdentity:
    """A pipeline of pixels, which has no folder for the first stage."""

    classes: tuple[str, ...] = ()

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters; ValueError names the entries of a configuration that has some."""
        keymaps.check_entries(config, (), harmless=("vq_interface",))
        return {}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Nothing; ValueError names tensors where there are any."""
        return keymaps.load((), tensors, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """Nothing."""
        return {}


class CompvisIdentity(DiffusersIdentity):
    """IdentityFirstStage of the published code."""

    classes = ("ldm.models.autoencoder.IdentityFirstStage",)
