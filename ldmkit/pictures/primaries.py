"""The primaries and the white point of a PNG file (cHRM): colours that are mixed of others become sRGB's."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from PIL import Image as Pillow

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""Chromaticities x, y of white, red, green and blue (IEC 61966-2-1)."""
NEARLY = 0.005
"""Chromaticities that differ less from those of sRGB mean them, whoever rounded them."""
CONES = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""Bradford's matrix from XYZ to the responses by which another white is adapted to (ICC.1:2010, annex E)."""
Matrix = Float[np.ndarray, "3 3"]


def to_srgb_of(picture: Pillow.Image) -> Matrix | None:
    """The matrix from linear light of a PNG file's primaries to that of sRGB's.

    None where the file says no primaries or those of sRGB, a profile or sRGB which go before them, or what
    can be no primaries, and for pictures without colours.
    """
    said = picture.info.get("chromaticity")
    if not said or picture.info.get("icc_profile") or "srgb" in picture.info:
        return None
    if picture.mode in ("1", "L", "LA") or picture.mode.startswith("I"):
        return None
    if len(said) != len(SRGB) or max(abs(a - b) for a, b in zip(said, SRGB, strict=True)) < NEARLY:
        return None
    with np.errstate(all="ignore"):
        try:
            matrix = np.linalg.inv(_mixture(SRGB)) @ _adapted(said) @ _mixture(said)
        except (np.linalg.LinAlgError, ZeroDivisionError):
            return None
    return matrix if np.isfinite(matrix).all() else None


def _mixture(chromaticities: tuple[float, ...]) -> Matrix:
    """The XYZ of red, green and blue as columns, whose sum is white with Y = 1."""
    white, *primaries = (
        np.array([x / y, 1, (1 - x - y) / y])
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    columns = np.stack(primaries, axis=1)
    return columns * np.linalg.solve(columns, white)


def _adapted(chromaticities: tuple[float, ...]) -> Matrix:
    """The matrix on XYZ that takes a file's white to that of sRGB."""
    own, other = (CONES @ _mixture(c).sum(axis=1) for c in (chromaticities, SRGB))
    return np.linalg.inv(CONES) @ np.diag(other / own) @ CONES
