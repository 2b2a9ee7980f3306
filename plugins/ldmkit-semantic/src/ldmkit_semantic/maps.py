"""Semantic maps as people and data sets give them, to class ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image as Pillow
from torch import Tensor

from ldmkit.pictures import open_picture, to_tensor


def class_maps(raw: Mapping[str, Any], field: str, classes: int) -> Int[Tensor, "b H W"]:
    """A batch of class ids: from an integer tensor, or a list of arrays, of palette or grey pictures,
    or of files of grey pictures.

    Raises ValueError that names the field; UserError for a file that is no picture.
    """
    expected = f"{field}: expects maps of class ids 0 to {classes - 1}, integers 'b H W'"
    if field not in raw:
        raise ValueError(f"{expected}; missing")
    given = raw[field]
    try:
        maps = given if isinstance(given, Tensor) else torch.stack([_map(x) for x in given])
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{expected} ({error})") from None
    if maps.ndim != 3 or maps.is_floating_point() or maps.is_complex() or maps.dtype == torch.bool:
        raise ValueError(f"{expected}; not {maps.dtype} of shape {tuple(maps.shape)}")
    maps = maps.long()
    if maps.numel() and not 0 <= int(maps.min()) <= int(maps.max()) < classes:
        raise ValueError(f"{expected}; found {int(maps.min())} to {int(maps.max())}")
    return maps


def _map(given: Any) -> Tensor:
    """One map; a colour picture has no class ids."""
    if isinstance(given, str | Path):
        return _grey(given)
    if isinstance(given, Pillow.Image):
        if given.mode not in ("L", "P"):
            raise ValueError(f"a picture of mode {given.mode}; a map is a palette or grey picture")
        return torch.from_numpy(np.array(given))
    return torch.as_tensor(given)


def _grey(path: str | Path) -> Tensor:
    """A file's grey values."""
    red, green, blue = to_tensor(open_picture(path))
    if not (torch.equal(red, green) and torch.equal(red, blue)):
        raise ValueError(f"{path} is in colour; a file of a map holds the class ids as grey values")
    return red
