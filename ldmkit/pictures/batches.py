"""Pictures, masks and class maps, in any form in which people and data sets give them, as tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from PIL import Image as Pillow
from PIL import ImageOps
from torch import Tensor

from ldmkit.pictures.files import decode, flatten, normalize, open_picture, shown, to_tensor
from ldmkit.pictures.storage import is_lossy, note, step
from ldmkit.types import FieldKind, Image

MOST = 2.0
"""Size of a float from which on it is no value of a picture in [-1, 1]: it may be one of 0..255."""
COLOUR = 64
"""Difference between channels, of 255, from which on a picture counts as coloured."""


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
