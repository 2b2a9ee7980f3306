"""Published formats of pixel models: the first stage is absent, or a class without tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.keymaps import WithoutTensors, check_entries


class DiffusersIdentity(WithoutTensors):
    """A pipeline of pixels, which has no folder for the first stage."""

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters; ValueError names the entries of a configuration that has some."""
        check_entries(config, (), harmless=("vq_interface",))
        return {}


class CompvisIdentity(DiffusersIdentity):
    """IdentityFirstStage of the published code."""

    classes = ("ldm.models.autoencoder.IdentityFirstStage",)
