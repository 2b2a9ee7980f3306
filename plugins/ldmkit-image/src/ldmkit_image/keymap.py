"""Conditions without tensors of their own, in published formats. `condition` is the recipe's id of the
conditioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.keymaps import WithoutTensors


class CompvisLowRes(WithoutTensors):
    """The low-resolution picture of the published super-resolution model, which enters without layers."""

    classes = ("torch.nn.Identity",)
    condition = "low_res"


class CompvisMaskedImage(WithoutTensors):
    """The paper's inpainting model, whose configuration names the first stage as its conditioner."""

    classes = ("__is_first_stage__",)
    condition = "image"

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters; ValueError for a layout that the published code has not."""
        if parameters.get("layout", "paper") != "paper":
            raise ValueError(f"layout {parameters['layout']}: the format holds the layout paper only")
        return {}


class DiffusersLowRes(WithoutTensors):
    """The low-resolution picture of LDMSuperResolutionPipeline."""


class DiffusersMaskedImage(WithoutTensors):
    """Mask and masked picture of StableDiffusionInpaintPipeline."""

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters; ValueError for a layout that the pipeline has not."""
        if parameters.get("layout", "paper") != "stable-diffusion":
            raise ValueError("layout paper: the pipeline holds the layout stable-diffusion only")
        return {}


class DiffusersSizes(WithoutTensors):
    """The size conditions of StableDiffusionXLPipeline; their width is in the network's configuration."""
