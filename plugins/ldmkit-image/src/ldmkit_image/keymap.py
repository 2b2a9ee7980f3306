"""Conditions without tensors of their own, in the published single file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from ldmkit import keymaps


class WithoutTensors:
    """What both share: no tensors; `condition` is the recipe's id of the conditioner."""

    classes: ClassVar[tuple[str, ...]]
    condition: ClassVar[str]

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters, whatever those of the published class are: it passes its input through."""
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


class CompvisLowRes(WithoutTensors):
    """The low-resolution picture as it is."""

    classes = ("torch.nn.Identity",)
    condition = "low_res"


class CompvisMaskedImage(WithoutTensors):
    """The paper's inpainting: the first stage is the conditioner."""

    classes = ("__is_first_stage__",)
    condition = "image"

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters; ValueError for a layout that the published code has not."""
        if parameters.get("layout", "paper") != "paper":
            raise ValueError(f"layout {parameters['layout']}: the format has the paper's only")
        return {}


class DiffusersLowRes(WithoutTensors):
    """The low-resolution picture of LDMSuperResolutionPipeline."""

    classes = ()


class DiffusersMaskedImage(WithoutTensors):
    """Mask and masked picture of StableDiffusionInpaintPipeline."""

    classes = ()

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """No parameters; ValueError for a layout that the pipeline has not."""
        if parameters.get("layout", "paper") != "stable-diffusion":
            raise ValueError("layout: the pipeline has stable-diffusion only")
        return {}


class DiffusersSizes(WithoutTensors):
    """The size conditions of StableDiffusionXLPipeline; their width is in the network's configuration."""

    classes = ()
