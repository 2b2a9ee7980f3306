"""Pictures and masks, in any form in which people and data sets give them, as float tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from ldmkit.pictures.files import normalize, open_picture, to_tensor
from ldmkit.types import Image


def batch(raw: Mapping[str, Any], field: str) -> Image:
    """The pictures of a raw input, in [-1, 1].

    Accepts PIL pictures, their files, byte tensors (0..255), or float tensors (in [-1, 1]).

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    tensor = _stack(raw, field, to_tensor)
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"{field}: expects pictures 'b 3 H W', not {tuple(tensor.shape)}")
    return normalize(tensor) if tensor.dtype == torch.uint8 else tensor.float()


def fitted(raw: Sequence[Any], field: str, size: tuple[int, int] | None) -> Image:
    """Pictures or their files as a batch in [-1, 1], each resized and cut around its middle to `size`.

    size: (height, width); None: left as they are, tensors always are. Raises as `batch`.
    """
    if size is None or isinstance(raw, Tensor):
        return batch({field: raw}, field)
    opened = [open_picture(x) if isinstance(x, str | Path) else x for x in raw]
    cut = [
        ImageOps.fit(x.convert("RGB"), (size[1], size[0]), Pillow.Resampling.LANCZOS)
        if isinstance(x, Pillow.Image) and x.size != (size[1], size[0])
        else x
        for x in opened
    ]
    return batch({field: cut}, field)


def masks(raw: Mapping[str, Any], field: str) -> Float[Tensor, "b 1 H W"]:
    """The masks of a raw input as zeros and ones, 1 where the picture has a hole.

    Accepts grey pictures (white = hole), their files, bool or byte tensors (0..255), or float tensors in
    [0, 1]; a half and more count as 1.

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    tensor = _stack(raw, field, lambda p: torch.from_numpy(np.array(p.convert("L"))))
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    if tensor.ndim != 4 or tensor.shape[1] != 1:
        raise ValueError(f"{field}: expects masks 'b 1 H W', not {tuple(tensor.shape)}")
    half = 128 if tensor.dtype == torch.uint8 else 0.5
    return tensor.float() if tensor.dtype == torch.bool else (tensor >= half).float()


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
