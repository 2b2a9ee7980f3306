"""PNG files whose colours are mixed of other primaries than sRGB's (cHRM)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from ldmkit_data.image_folder import ImageFolder
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldmkit.pictures import decode, open_picture

SRGB = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
# As Lindbloom publishes them, http://www.brucelindbloom.com/Eqn_RGB_XYZ_Matrix.html
ADOBE_TO_XYZ = np.array(
    [[0.5767309, 0.1855540, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.0270343, 0.0706872, 0.9911085]]
)
XYZ_TO_SRGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
PIXELS = np.random.default_rng(0).integers(0, 256, (70, 9, 3), dtype=np.uint8)


def opened(path: Path, picture: Image.Image, said: tuple[float, ...], **chunks: bytes) -> np.ndarray:
    """The picture saved with a chunk cHRM, and others, and opened."""
    info = PngInfo()
    for name, content in chunks.items():
        info.add(name.encode(), content)
    info.add(b"cHRM", struct.pack(">8I", *(round(100_000 * x) for x in said)))
    picture.save(path, pnginfo=info)
    return np.asarray(open_picture(path, background="red")).astype(int)


def gamma(value: float) -> dict[str, bytes]:
    return {"gAMA": struct.pack(">I", round(value * 100_000))}


def test_colours_of_adobe_rgb_become_those_of_srgb(tmp_path: Path) -> None:
    light = (PIXELS / 255) ** 2.2 @ (XYZ_TO_SRGB @ ADOBE_TO_XYZ).T
    light = light.clip(0, 1)
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    found = opened(tmp_path / "a.png", Image.fromarray(PIXELS), ADOBE, **gamma(1 / 2.2))
    assert np.abs(found - expected).max() < 1.1
    assert np.abs(found - PIXELS).max() > 20


def test_white_stays_white_and_grey_stays_grey_under_another_white_point(tmp_path: Path) -> None:
    prophoto = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
    greys = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, axis=2)
    found = opened(tmp_path / "a.png", Image.fromarray(greys), prophoto)
    assert np.abs(found - greys).max() <= 1


@pytest.mark.parametrize(
    ("said", "chunks"),
    [
        (SRGB, {}),
        (tuple(x + 0.002 for x in SRGB), {}),  # as some programs round them
        (ADOBE, {"sRGB": b"\0"}),  # which goes before
        ((0.0,) * 8, {}),
        ((0.3127, 0.0, *SRGB[2:]), {}),
        ((0.3127, 0.3290, *(0.64, 0.33) * 3), {}),  # three primaries that are one
    ],
)
def test_primaries_of_srgb_and_such_as_can_be_none_change_nothing(
    tmp_path: Path, said: tuple[float, ...], chunks: dict[str, bytes]
) -> None:
    assert np.array_equal(opened(tmp_path / "a.png", Image.fromarray(PIXELS), said, **chunks), PIXELS)


def test_palettes_and_transparency_are_kept(tmp_path: Path) -> None:
    plain = opened(tmp_path / "a.png", Image.new("RGB", (1, 1), (200, 90, 30)), ADOBE)[0, 0]
    palette = opened(tmp_path / "p.png", Image.new("RGB", (1, 1), (200, 90, 30)).quantize(2), ADOBE)[0, 0]
    assert np.abs(palette - plain).max() <= 2
    clear = Image.new("RGBA", (2, 1), (200, 90, 30, 255))
    clear.putpixel((0, 0), (1, 2, 3, 0))
    found = opened(tmp_path / "c.png", clear, ADOBE)[0]
    assert found.tolist() == [[255, 0, 0], plain.tolist()]


def test_class_ids_are_no_colours(tmp_path: Path) -> None:
    ids = np.arange(6, dtype=np.uint8).reshape(2, 3)
    opened(tmp_path / "map.png", Image.fromarray(ids), ADOBE)
    assert np.array_equal(decode(tmp_path / "map.png", np.asarray), ids)


def test_latents_of_pictures_that_were_read_by_other_rules_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        Image.new("RGB", (8, 8), (90 * i, 0, 0)).save(tmp_path / f"{i}.png")
    before = ImageFolder(path=tmp_path, size=8)
    pictures, all_of_it = before.picture_digest, before.digest
    monkeypatch.setattr("ldmkit.pictures.data.RULES", 3)
    after = ImageFolder(path=tmp_path, size=8)
    assert after.picture_digest != pictures  # which the cache of latents is named by
    assert after.digest == all_of_it  # the data of finished trainings are what they were
