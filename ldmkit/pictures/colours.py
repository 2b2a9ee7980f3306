"""Embedded colour profiles: pictures in other colour spaces become sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's mode for a profile's colour space."""


def to_srgb(picture: Pillow.Image) -> Pillow.Image:
    """The picture in sRGB by its embedded ICC profile (perceptual intent), its transparency kept.

    Unchanged where there is no profile, where it is sRGB's own (within one level of 255), or where it cannot
    be used (damaged, or of another colour space than the picture), as browsers do.
    """
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        return _converted(picture, profile)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def _converted(picture: Pillow.Image, profile: bytes) -> Pillow.Image:
    mode = _mode(profile)
    bare = {"L": "L", "LA": "L", "1": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    if mode != bare or _is_srgb(profile):
        return picture
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    changed = _transformed(picture.convert(mode), profile)
    if alpha is not None:
        changed.putalpha(alpha)
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
