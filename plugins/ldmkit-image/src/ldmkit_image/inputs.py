"""Pictures and masks as people and data sets give them, to float tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor

from ldmkit.pictures import normalize, open_picture, to_tensor
from ldmkit.types import Image


def pictures(raw: Mapping[str, Any], field: str) -> Image:
    """A batch in [-1, 1]: from pictures, their files, byte tensors (0..255), or float tensors (in [-1, 1]).

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    batch = _stack(raw, field, to_tensor)
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise ValueError(f"{field}: expects pictures 'b 3 H W', not {tuple(batch.shape)}")
    return normalize(batch) if batch.dtype == torch.uint8 else batch.float()


def masks(raw: Mapping[str, Any], field: str) -> Float[Tensor, "b 1 H W"]:
    """A batch of zeros and ones, 1 where the picture has a hole.

    From grey pictures (white = hole), their files, bool or byte tensors (0..255), or float tensors in
    [0, 1]; a half and more count as 1.

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    batch = _stack(raw, field, lambda p: torch.from_numpy(np.array(p.convert("L"))))
    if batch.ndim == 3:
        batch = batch.unsqueeze(1)
    if batch.ndim != 4 or batch.shape[1] != 1:
        raise ValueError(f"{field}: expects masks 'b 1 H W', not {tuple(batch.shape)}")
    half = 128 if batch.dtype == torch.uint8 else 0.5
    return batch.float() if batch.dtype == torch.bool else (batch >= half).float()


def _stack(raw: Mapping[str, Any], field: str, convert: Callable[[Pillow.Image], Tensor]) -> Tensor:
    if field not in raw:
        raise ValueError(f"{field}: missing; expects pictures")
    given = raw[field]
    if isinstance(given, Tensor):
        return given
    if isinstance(given, Pillow.Image):
        given = [given]
    if not isinstance(given, list | tuple) or not given:
        raise ValueError(f"{field}: expects a list of pictures or a tensor, not {type(given).__name__}")
    opened = [open_picture(x) if isinstance(x, str | Path) else x for x in given]
    tensors = [convert(x) if isinstance(x, Pillow.Image) else torch.as_tensor(x) for x in opened]
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise ValueError(f"{field}: pictures of one batch have one size, not {sorted(shapes)}")
    return torch.stack(tensors)
