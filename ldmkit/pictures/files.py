"""Picture files and tensors: the one way in for files, and the conversions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.types import Image

FORMATS = ("PNG", "JPEG", "WEBP")
"""What is opened; no other decoder of Pillow's is ever handed a file."""
MAX_PIXELS = 64 * 2**20


class PictureError(UserError):
    """A file that is no picture we open: another format, damaged, too large, missing."""


def open_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, background: str = "white"
) -> Pillow.Image:
    """The RGB picture in a PNG, JPEG or WEBP file, upright.

    Grey becomes RGB (16 bits are scaled to 8), transparency is composited on `background`, EXIF orientation
    is applied, of an animation the first frame counts. Raises PictureError naming the file.
    """
    try:
        with Pillow.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                size = f"{picture.width}x{picture.height}"
                raise PictureError(f"{path}: {size} is more than the {max_pixels} pixels allowed")
            return _flatten(ImageOps.exif_transpose(picture), background)
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise PictureError(f"{path}: not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture") from None
    except Exception as error:  # decoders raise errors of all kinds on damaged files
        raise PictureError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def _flatten(picture: Pillow.Image, background: str) -> Pillow.Image:
    """The picture as opaque 8-bit RGB."""
    if picture.mode.startswith("I"):  # convert() would clip 16-bit grey to white
        picture = Pillow.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    canvas = Pillow.new("RGBA", picture.size, background)
    canvas.alpha_composite(picture.convert("RGBA"))
    return canvas.convert("RGB")


def to_tensor(picture: Pillow.Image) -> UInt8[Tensor, "3 H W"]:
    """An RGB picture as bytes in 0..255."""
    return torch.from_numpy(np.array(rearrange(np.asarray(picture.convert("RGB")), "h w c -> c h w")))


def normalize(pixels: UInt8[Tensor, "b 3 H W"]) -> Image:
    """Bytes in 0..255 as float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pictures(image: Image) -> list[Pillow.Image]:
    """A batch in [-1, 1] as RGB pictures; rounded, clipped to the range."""
    pixels = ((image.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
    return [Pillow.fromarray(rearrange(p, "c h w -> h w c").contiguous().numpy()) for p in pixels]
