"""Super-resolution: the low-resolution picture itself joins the latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ldmkit.types import Condition, ConditionSpec, Prepared
from ldmkit_image.inputs import pictures


class LowRes(nn.Module):
    """The low-resolution picture as three channels beside z_t (the paper's super-resolution, section 4.4).

    Its size is the latent's: a model of factor 4 makes a picture four times as large. Null: zeros (grey).

    Args:
        field: the batch field that holds the low-resolution pictures.
    """

    def __init__(self, *, field: str = "low_res") -> None:
        super().__init__()
        self.field = field
        self.spec = ConditionSpec(fields=(field,), concat=3)

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Pictures or tensors to "b 3 h w" in [-1, 1]; ValueError says what is expected."""
        return {self.field: pictures(raw, self.field)}

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """concat "b 3 h w": the picture as it is."""
        return Condition(concat=prepared[self.field])

    def null(self, like: Condition) -> Condition:
        """Zeros."""
        return like.map(torch.zeros_like)
