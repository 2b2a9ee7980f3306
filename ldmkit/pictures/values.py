"""One picture, mask or class map as a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image as Pillow
from torch import Tensor

from ldmkit.errors import Note, shortened
from ldmkit.pictures.files import decode, flatten, shown, to_tensor
from ldmkit.pictures.storage import is_lossy, is_unsure, note, step
from ldmkit.types import FieldKind

UNSURE_IDS = (
    "a map in a WEBP file is taken to hold the class ids as they were; one that was written nearly lossless, "
    "which its file does not tell, may not: save maps as PNG"
)
COLOUR = 64
"""Difference between channels, of 255, from which on a picture counts as coloured."""


def read(value: Any, kind: FieldKind, name: str = "a picture") -> Any:
    """The value of one picture's field as a tensor, where its kind is one of pictures; errors call a PIL
    picture `name`.

    "picture": uint8 "3 H W"; "mask": uint8 "H W"; "map": integers "H W"; what is an array already keeps its
    type. Other kinds are returned as they are. Raises ValueError, and PictureError for a file.
    """
    if kind not in OF_PICTURES:
        return value
    if isinstance(value, str | Path):
        return decode(value, lambda picture: _of_picture(picture, kind, shown(value)))
    if isinstance(value, Pillow.Image):
        return _of_picture(value, kind, name)
    tensor = _tensor(value)
    if tensor.ndim == 0:
        raise ValueError(f"{shortened(str(value), 100)} is no {kind}")
    channels_last = tensor.ndim == 3 and tensor.shape[-1] == 3 != tensor.shape[0]
    return tensor.movedim(-1, 0) if kind == "picture" and channels_last else tensor


def _of_picture(picture: Pillow.Image, kind: FieldKind, name: str) -> Tensor:
    note(picture)
    try:
        return OF_PICTURES[kind](picture)
    except ValueError as error:
        raise ValueError(f"{name} is {error}") from None


def _tensor(value: Any) -> Tensor:
    try:
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value)
        wide = array.dtype.kind == "u" and array.itemsize > 1  # few operations of torch take those
        return torch.from_numpy(array.astype(np.int64) if wide else np.array(array))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{type(value).__name__} is no picture ({error})") from None


def _picture(picture: Pillow.Image) -> Tensor:
    return to_tensor(flatten(picture))


def _mask(picture: Pillow.Image) -> Tensor:
    if picture.mode == "P" and not _grey_palette(picture):
        return torch.from_numpy((np.asarray(picture) > 0).astype(np.uint8) * 255)
    if picture.mode == "1":
        picture = picture.convert("L")
    if step(picture) > 1 and (values := _levels(picture)).max() <= 1:
        picture = Pillow.fromarray(values * 255)
    if picture.mode.startswith("I") and (values := np.asarray(picture)).max() < 256:  # 8 bits in a file of 16
        picture = Pillow.fromarray(values.astype(np.uint8))
    pixels = np.asarray(flatten(picture))
    if int((pixels.max(-1).astype(int) - pixels.min(-1)).max()) > COLOUR:
        raise ValueError("in colour; a mask is a grey picture, white where the hole is")
    return torch.from_numpy(np.array(Pillow.fromarray(pixels).convert("L")))


def _grey_palette(picture: Pillow.Image) -> bool:
    palette = np.array(picture.getpalette("RGB") or [], int).reshape(-1, 3)
    return bool((palette.max(-1, initial=0) == palette.min(-1, initial=255)).all())


def _map(picture: Pillow.Image) -> Tensor:
    """Class ids: grey values or palette indices, as they stand in the file."""
    if is_lossy(picture):
        kind = "JPEG" if picture.format == "JPEG" else f"lossy {picture.format}"
        raise ValueError(f"a {kind} file, which does not keep class ids: save it as PNG")
    if is_unsure(picture):
        warn(Note(UNSURE_IDS), stacklevel=2)
    if picture.format and picture.mode in ("RGB", "RGBA", "LA"):
        picture = _grey(picture)
    if picture.mode not in ("1", "L", "P", "I", "I;16"):
        raise ValueError(f"of mode {picture.mode}; a map is a palette or grey picture")
    values = _levels(picture)
    return torch.from_numpy(values.astype(np.uint8 if values.itemsize == 1 else np.int32))


def _levels(picture: Pillow.Image) -> Shaped[np.ndarray, "H W"]:
    """The values as they stand in the file, also where its levels are of 2 or 4 bits."""
    values = np.asarray(picture)
    return values // step(picture) if step(picture) > 1 else values


def _grey(picture: Pillow.Image) -> Pillow.Image:
    """One channel of a grey picture that is saved in colour."""
    colours = picture.convert("RGBA") if picture.mode == "LA" else picture
    red, green, blue, *alpha = (np.asarray(channel) for channel in colours.split())
    if not (np.array_equal(red, green) and np.array_equal(red, blue)) or any((a < 255).any() for a in alpha):
        raise ValueError("in colour; a map holds the class ids as grey values or palette indices")
    return Pillow.fromarray(red)


OF_PICTURES: Mapping[FieldKind, Callable[[Pillow.Image], Tensor]] = {
    "picture": _picture,
    "mask": _mask,
    "map": _map,
}
