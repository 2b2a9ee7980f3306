"""Embedded colour profiles, gamma and primaries of PNG files: pictures in other colour spaces become sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image as Pillow
from PIL import ImageCms

from ldmkit.pictures.primaries import Matrix, to_srgb_of

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's mode for a profile's colour space."""
BARE = {"L": "L", "LA": "L", "1": "L", "CMYK": "CMYK"}
"""Pillow's mode without transparency, where it is not RGB."""
NEARLY_SRGB = 0.05
"""Gammas that differ less from that of sRGB, 1/2.2, mean it: libpng's own threshold."""
ROWS = 64
"""Rows of pixels whose primaries are converted together."""


def to_srgb(picture: Pillow.Image) -> Pillow.Image:
    """The picture in sRGB by its embedded ICC profile (perceptual intent), or where it has none by the gamma
    and the primaries of its PNG file, its transparency kept.

    Unchanged where there is neither, where they are sRGB's own (a profile within one level of 255), or where
    they cannot be used (damaged, or of another colour space than the picture), as browsers do.
    """
    profile = picture.info.get("icc_profile")
    if not profile:
        gamma, matrix = gamma_of(picture), to_srgb_of(picture)
        if matrix is not None:
            return _with_other_primaries(picture, matrix)
        return picture if gamma is None else _without_gamma(picture, gamma)
    try:
        return _converted(picture, profile)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def gamma_of(picture: Pillow.Image) -> float | None:
    """The exponent that leads from light to the values of a PNG file (gAMA), where that is not sRGB's and the
    file says nothing better: a profile or sRGB go before it."""
    gamma = picture.info.get("gamma")
    if not gamma or picture.info.get("icc_profile") or "srgb" in picture.info:
        return None
    return None if abs(gamma * 2.2 - 1) < NEARLY_SRGB else float(gamma)


def srgb_levels(
    values: Shaped[np.ndarray, "*size"], highest: int, gamma: float
) -> UInt8[np.ndarray, "*size"]:
    """Values from 0 to `highest` of that gamma as levels of sRGB, 0 to 255. Source: IEC 61966-2-1."""
    light: Float[np.ndarray, "*size"] = (np.asarray(values, float) / highest) ** (1 / gamma)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    levels: UInt8[np.ndarray, "*size"] = (255 * curved).round().astype(np.uint8)
    return levels


def _without_gamma(picture: Pillow.Image, gamma: float) -> Pillow.Image:
    bare = picture.convert(BARE.get(picture.mode, "RGB"))
    table = srgb_levels(np.arange(256), 255, gamma).tolist() * len(bare.getbands())
    changed: Any = bare.point(table)
    changed.info = {}  # a level that is transparent is another one now
    return _with_alpha_of(picture, changed)


def _with_other_primaries(picture: Pillow.Image, matrix: Matrix) -> Pillow.Image:
    """The curve is that of gAMA, where the file has one, else sRGB's, as in browsers; what sRGB cannot show
    is clipped."""
    values, gamma = np.arange(256) / 255, picture.info.get("gamma")
    curved = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = (values ** (1 / gamma) if gamma else curved).astype(np.float32)
    pixels = np.asarray(picture.convert("RGB"))
    parts = [light[pixels[i : i + ROWS]] @ matrix.T for i in range(0, len(pixels), ROWS)]
    levels = np.concatenate([srgb_levels(part.clip(0, 1), 1, 1.0) for part in parts])
    return _with_alpha_of(picture, Pillow.fromarray(levels))


def _converted(picture: Pillow.Image, profile: bytes) -> Pillow.Image:
    mode = _mode(profile)
    if mode != BARE.get(picture.mode, "RGB") or _is_srgb(profile):
        return picture
    return _with_alpha_of(picture, _transformed(picture.convert(mode), profile))


def _with_alpha_of(picture: Pillow.Image, changed: Pillow.Image) -> Pillow.Image:
    """The changed picture, transparent where the other one is."""
    if picture.has_transparency_data:
        changed.putalpha(picture.convert("RGBA").getchannel("A"))
    return changed


def _transformed(picture: Pillow.Image, profile: bytes) -> Pillow.Image:
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    changed = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    assert changed is not None  # it would be with inPlace
    return changed


@lru_cache(maxsize=64)
def _mode(profile: bytes) -> str | None:
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    return MODES.get(space)


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Does the profile leave a grid of colours as they are?"""
    if _mode(profile) != "RGB":
        return False
    grid = np.array(list(product(range(0, 256, 17), repeat=3)), np.uint8).reshape(64, 64, 3)
    changed = np.asarray(_transformed(Pillow.fromarray(grid), profile))
    return bool((np.abs(changed.astype(int) - grid) <= 1).all())
