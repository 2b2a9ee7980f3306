"""Batches of pictures, masks and class maps, in any form in which people and data sets give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from ldmkit.pictures.files import flatten, normalize, open_picture
from ldmkit.pictures.values import read
from ldmkit.types import FieldKind, Image

MOST = 2.0
"""Size of a float from which on it is no value of a picture in [-1, 1]: it may be one of 0..255."""


def batch(raw: Mapping[str, Any], field: str) -> Image:
    """The pictures of a raw input, in [-1, 1].

    Accepts PIL pictures, their files, arrays of whole numbers (0..255) or floats (in [-1, 1]); one, a list,
    or a tensor "b 3 H W". Arrays may be "3 H W" or "H W 3".

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    tensor = _bytes(_stack(raw, field, "picture"), field)
    if tensor.ndim != 4 or tensor.shape[1] != 3:
        raise ValueError(f"{field}: expects pictures 'b 3 H W', not {tuple(tensor.shape)}")
    return normalize(tensor) if tensor.dtype == torch.uint8 else _within(tensor.float(), field, "[-1, 1]")


def fitted(raw: Sequence[Any], field: str, size: tuple[int, int] | None) -> Image:
    """Pictures or their files as a batch in [-1, 1], each resized and cut around its middle to `size`.

    size: (height, width); None: left as they are, tensors always are. Raises as `batch`.
    """
    if size is None or isinstance(raw, Tensor):
        return batch({field: raw}, field)
    opened = [open_picture(x) if isinstance(x, str | Path) else x for x in raw]
    cut = [
        ImageOps.fit(flatten(x), (size[1], size[0]), Pillow.Resampling.LANCZOS)
        if isinstance(x, Pillow.Image) and x.size != (size[1], size[0])
        else x
        for x in opened
    ]
    return batch({field: cut}, field)


def masks(raw: Mapping[str, Any], field: str) -> Float[Tensor, "b 1 H W"]:
    """The masks of a raw input as zeros and ones, 1 where the picture has a hole.

    Accepts grey pictures (white = hole; those of 16 bits may use 8 or 1 of them), their files, arrays of
    bools or whole numbers (0..255; 0 and 1 where none is larger), or float arrays in [0, 1]; a half and more
    count as 1. Of a palette picture that is not grey, all but index 0 is a hole.

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    tensor = _bytes(_stack(raw, field, "mask"), field)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    if tensor.ndim != 4 or tensor.shape[1] != 1:
        raise ValueError(f"{field}: expects masks 'b 1 H W', not {tuple(tensor.shape)}")
    if tensor.dtype == torch.uint8:
        tensor = torch.where(tensor.amax((1, 2, 3), keepdim=True) <= 1, tensor * 255, tensor) >= 128
    return tensor.float() if tensor.dtype == torch.bool else (_within(tensor, field, "[0, 1]") >= 0.5).float()


def class_maps(raw: Mapping[str, Any], field: str, classes: int) -> Int[Tensor, "b H W"]:
    """The class maps of a raw input: ids from 0 to `classes` - 1.

    Accepts integer arrays, and pictures or files whose grey values (up to 16 bits) or palette indices are the
    ids; JPEG and lossy WEBP files do not keep them and are refused.

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    expected = f"{field}: expects maps of class ids 0 to {classes - 1}, integers 'b H W'"
    try:
        maps = _stack(raw, field, "map")
    except ValueError as error:
        raise ValueError(f"{expected} ({error})") from None
    if maps.ndim != 3 or maps.is_floating_point() or maps.is_complex() or maps.dtype == torch.bool:
        raise ValueError(f"{expected}; not {maps.dtype} of shape {tuple(maps.shape)}")
    maps = maps.long()
    if maps.numel() and not 0 <= int(maps.min()) <= int(maps.max()) < classes:
        raise ValueError(f"{expected}; found {int(maps.min())} to {int(maps.max())}")
    return maps


def _stack(raw: Mapping[str, Any], field: str, kind: FieldKind) -> Tensor:
    if field not in raw:
        raise ValueError(f"{field}: missing; expects pictures")
    values = raw[field]
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ndarray):
        values = list(values)
    if isinstance(values, Pillow.Image):
        values = [values]
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{field}: expects a list of pictures or a tensor, not {type(values).__name__}")
    try:
        tensors = [read(value, kind) for value in values]
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1:
        raise ValueError(f"{field}: pictures of one batch have one size, not {sorted(shapes)}")
    return torch.stack(tensors)


def _within(tensor: Tensor, field: str, range: str) -> Tensor:
    """Floats that may be meant in that range, or lie a little beyond it; ValueError for others."""
    least, most = (float(x) for x in tensor.aminmax()) if tensor.numel() else (0.0, 0.0)
    if not (least >= -MOST and most <= MOST):
        raise ValueError(f"{field}: expects floats in {range}, or whole numbers; found {least:g} to {most:g}")
    return tensor


def _bytes(tensor: Tensor, field: str) -> Tensor:
    """Whole numbers of any type as bytes; others are left as they are. ValueError for those beyond 0..255."""
    if tensor.is_floating_point() or tensor.dtype in (torch.bool, torch.uint8):
        return tensor
    if tensor.is_complex():
        raise ValueError(f"{field}: expects real numbers, not {tensor.dtype}")
    whole = tensor.long()
    if whole.numel() and not 0 <= int(whole.min()) <= int(whole.max()) <= 255:
        raise ValueError(
            f"{field}: expects whole numbers from 0 to 255; found {whole.min()} to {whole.max()}"
        )
    return whole.to(torch.uint8)
