"""A conditioner that encodes semantic maps by a segmentation backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from pydantic import PositiveInt
from torch import nn
from torch.nn.functional import interpolate

from ldmkit.artifacts import read_tensors
from ldmkit.errors import on_one_line
from ldmkit.types import Condition, ConditionSpec, LatentSpec, Prepared
from ldmkit_semantic.maps import class_maps


class SmpEncoder(nn.Module):
    """Encodes a semantic map by a network of segmentation-models-pytorch that is trained jointly with the
    denoiser.

    Each class gets a learned colour. The backbone's feature maps of all depths are projected to `channels`,
    resized to the latent's size and added up. The null condition is zeros. Nothing is downloaded. Raises
    ValueError for a backbone that the library does not have and for weights that do not fit it.

    Args:
        field: the batch field that holds the maps, class ids "b H W".
        classes: how many classes there are.
        backbone: the encoder's name in segmentation-models-pytorch.
        weights: a local safetensors file of the backbone's state dict (three input channels).
        channels: channels that join z_t, or of a token.
        to: "concat" joins z_t on channels; "tokens" makes a token of each position, for cross-attention.
    """

    def __init__(
        self,
        latent: LatentSpec,
        *,
        field: str = "segmentation",
        classes: PositiveInt = 182,
        backbone: str = "resnet18",
        weights: Path | None = None,
        channels: PositiveInt = 16,
        to: Literal["concat", "tokens"] = "concat",
    ) -> None:
        super().__init__()
        self.field, self.classes, self.factor, self.target = field, classes, latent.factor, to
        self.spec = ConditionSpec(
            fields=(field,),
            tokens=channels if to == "tokens" else 0,
            concat=channels if to == "concat" else 0,
            kinds={field: "map"},
        )
        self.colours = nn.Embedding(classes, 3)
        self.backbone = _backbone(backbone, weights)
        self.project = nn.ModuleList(  # some backbones hold the place of a depth by a map without channels
            nn.Conv2d(width, channels, 1) if width else nn.Identity()
            for width in self.backbone.out_channels[1:]
        )

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """The maps as class ids "b H W". Raises ValueError that says what is expected."""
        return {self.field: class_maps(raw, self.field, self.classes)}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """A condition with concat "b channels h w" or tokens "b h*w channels"; (h, w) is the latent's
        size."""
        ids = prepared[self.field]
        size = (ids.shape[1] // self.factor, ids.shape[2] // self.factor)
        maps = self.backbone(self.colours(ids).permute(0, 3, 1, 2))[1:]
        projected = [
            interpolate(project(x), size=size, mode="bilinear")
            for project, x in zip(self.project, maps, strict=True)
            if isinstance(project, nn.Conv2d)
        ]
        joined = torch.stack(projected).sum(0)
        if self.target == "tokens":
            return Condition(tokens=rearrange(joined, "b c h w -> b (h w) c"))
        return Condition(concat=joined)

    def null(self, like: Condition) -> Condition:
        """A condition of zeros."""
        return like.map(torch.zeros_like)


def _backbone(name: str, weights: Path | None) -> Any:
    """The encoder; ValueError for a name that the library does not have and for weights that do not fit."""
    from segmentation_models_pytorch.encoders import get_encoder, get_encoder_names

    if name not in get_encoder_names():
        raise ValueError(f"no backbone '{name}'; there are: {', '.join(get_encoder_names())}")
    backbone = get_encoder(name, in_channels=3, depth=5, weights=None)
    if weights is None:
        return backbone
    try:
        backbone.load_state_dict(read_tensors(Path(weights)))
    except RuntimeError as error:
        raise ValueError(f"weights {weights}: {on_one_line(error)}") from None
    return backbone
