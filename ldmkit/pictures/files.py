"""Picture files and tensors: the one way in for files, and the conversions."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from ldmkit.disk import check_file
from ldmkit.errors import UserError
from ldmkit.pictures.colours import gamma_of, srgb_levels, to_srgb
from ldmkit.pictures.storage import note
from ldmkit.types import Image

FORMATS = ("PNG", "JPEG", "WEBP")
"""What is opened; no other decoder of Pillow's is ever handed a file."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
OTHER_SUFFIXES = (
    *(".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".jfif", ".jpe"),
    *(".ppm", ".pgm", ".pbm", ".tga", ".psd", ".exr", ".dds", ".svg", ".ico"),
)
"""Suffixes of pictures that are not opened: who lists a folder names such files among those left out."""
RULES = 2
"""Counts up when a file's pixels are read in another way, so that what was computed from them is computed
again. 2: gamma and primaries of PNG files."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF entry, and its values that exchange width and height."""
MAX_PIXELS = 64 * 2**20
LARGE = 8 * 2**20
"""Pixels from which on the memory of a picture is handed back at once."""
T = TypeVar("T")


class PictureError(UserError):
    """A file that is no picture we open: another format, damaged, too large, missing."""


def _give_back() -> None:
    """Has the C library hand freed memory back: glibc keeps that of each thread for the same thread, so that
    eight which decode one after another hold eight pictures. Elsewhere, nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


class _Room:
    """Lets pictures be decoded at once as long as they have at most `pixels` together; one always may."""

    def __init__(self, pixels: int) -> None:
        self._pixels, self._taken = pixels, 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Waits for room, and gives it back at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + pixels <= self._pixels)
            self._taken += pixels
        try:
            yield
        finally:
            if pixels > LARGE:
                _give_back()
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


_room = _Room(MAX_PIXELS)


def open_picture(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, background: str = "white"
) -> Pillow.Image:
    """The RGB picture in a PNG, JPEG or WEBP file, upright, in sRGB.

    Grey becomes RGB (16 bits are scaled to 8), an embedded colour profile, or the gamma and the primaries of
    a PNG file, are converted from, transparency is composited on `background`, EXIF orientation is applied,
    of an animation the first frame counts. Raises PictureError naming the file.
    """
    return decode(path, lambda picture: flatten(picture, background), max_pixels=max_pixels)


def decode(path: str | Path, use: Callable[[Pillow.Image], T], *, max_pixels: int = MAX_PIXELS) -> T:
    """`use` of the upright picture in a file, in the file's own mode ("L", "P", "I;16", "RGBA"...).

    Threads that decode at once wait for each other where their pictures exceed `MAX_PIXELS` together, until
    `use` returns: about 1 GB at most. Raises PictureError naming the file.
    """
    with ExitStack() as room:
        return use(_loaded(path, shown(path), max_pixels, room))


def decode_bytes(
    content: bytes, name: str, use: Callable[[Pillow.Image], T], *, max_pixels: int = MAX_PIXELS
) -> T:
    """The same for a file's content; errors call it `name`."""
    with ExitStack() as room:
        return use(_loaded(BytesIO(content), name, max_pixels, room))


def _loaded(source: str | Path | BytesIO, name: str, max_pixels: int, room: ExitStack) -> Pillow.Image:
    """The picture in memory, for which `room` waits first."""
    try:
        if not isinstance(source, BytesIO):
            check_file(Path(source))
        with Pillow.open(source, formats=FORMATS) as picture:
            pixels = picture.width * picture.height
            if pixels > max_pixels:
                size = f"{picture.width}x{picture.height}"
                raise PictureError(f"{name}: {size} is more than the {max_pixels} pixels allowed")
            room.enter_context(_room.taken(pixels))
            note(picture)
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            return picture
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except Exception as error:  # decoders raise errors of all kinds on damaged files
        raise _unopened(error, name) from error


def upright_size(file: BinaryIO, name: str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of a picture as it is shown, from its header; nothing is decoded.

    Raises PictureError, which calls the picture `name`.
    """
    try:
        with Pillow.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            # asked for without an entry, a PNG would be decoded to find one
            turned = "exif" in picture.info and picture.getexif().get(ORIENTATION) in SIDEWAYS
    except Exception as error:  # decoders raise errors of all kinds on damaged files
        raise _unopened(error, name) from error
    if width * height > max_pixels:
        raise PictureError(f"{name}: {width}x{height} is more than the {max_pixels} pixels allowed")
    return (height, width) if turned else (width, height)


def _unopened(error: Exception, name: str) -> PictureError:
    if isinstance(error, UnidentifiedImageError):
        return PictureError(f"{name}: not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture")
    if isinstance(error, IsADirectoryError):
        return PictureError(f"{name}: is a folder; name a picture in it")
    return PictureError(f"{name}: cannot be read ({type(error).__name__}: {error})"[:500])


def shown(path: str | Path) -> str:
    """A path that can be printed on one line: control characters, and bytes of its name that are not UTF-8,
    are escaped."""
    text = str(path).encode(errors="backslashreplace").decode()
    return text if text.isprintable() else "".join(repr(c)[1:-1] if c < " " else c for c in text)


def flatten(picture: Pillow.Image, background: str = "white") -> Pillow.Image:
    """A picture of any mode as opaque 8-bit RGB in sRGB, transparency composited on `background`."""
    if picture.mode.startswith("I"):
        picture = _eight_bits(picture)
    picture = to_srgb(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    canvas = Pillow.new("RGBA", picture.size, background)
    canvas.alpha_composite(picture.convert("RGBA"))
    return canvas.convert("RGB")


def _eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """16-bit grey as 8 bits (convert() would clip to white), with the value that a PNG calls transparent."""
    values, gamma = np.asarray(picture), gamma_of(picture)
    levels = (values // 257).astype(np.uint8) if gamma is None else srgb_levels(values, 65535, gamma)
    grey = Pillow.fromarray(levels)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Pillow.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    grey.info.update({k: v for k, v in picture.info.items() if k == "icc_profile"})
    return grey


def to_tensor(picture: Pillow.Image) -> UInt8[Tensor, "3 H W"]:
    """An RGB picture as bytes in 0..255."""
    return torch.from_numpy(np.array(rearrange(np.asarray(picture.convert("RGB")), "h w c -> c h w")))


def normalize(pixels: UInt8[Tensor, "b 3 H W"]) -> Image:
    """Bytes in 0..255 as float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def denormalize(image: Image) -> UInt8[Tensor, "b 3 H W"]:
    """The reverse of `normalize`: values in [-1, 1], clipped to that range, as the nearest byte."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def to_pictures(image: Image) -> list[Pillow.Image]:
    """A batch in [-1, 1] as RGB pictures; rounded, clipped to the range."""
    pixels = denormalize(image.detach().float()).cpu()
    return [Pillow.fromarray(rearrange(p, "c h w -> h w c").contiguous().numpy()) for p in pixels]
