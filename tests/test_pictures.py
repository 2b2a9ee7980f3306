"""The one function that opens picture files, and conversions between files' bytes and tensors."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldmkit.errors import Note
from ldmkit.pictures import (
    PictureError,
    class_maps,
    colours,
    normalize,
    open_picture,
    paint,
    to_pictures,
    to_tensor,
)


def pixel(picture: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    assert picture.mode == "RGB"
    return tuple(int(x) for x in np.asarray(picture)[place[::-1]])


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    got = np.asarray(open_picture(tmp_path / "grey.png"))
    assert np.array_equal(got, np.repeat((ramp // 257).astype(np.uint8)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparency_shows_the_background(tmp_path: Path, mode: str) -> None:
    """Left half transparent black, right half opaque black, in every way that PNG has."""
    rgba = Image.new("RGBA", (8, 4), (0, 0, 0, 0))
    rgba.paste((0, 0, 0, 255), (4, 0, 8, 4))
    if mode in ("L", "RGB"):
        picture = Image.new(mode, (8, 4), 0 if mode == "L" else (0, 0, 0))
        picture.paste(9 if mode == "L" else (9, 9, 9), (0, 0, 4, 4))
        picture.save(tmp_path / "a.png", transparency=9 if mode == "L" else (9, 9, 9))
    elif mode == "P":
        picture = Image.new("P", (8, 4), 0)
        picture.putpalette([5, 5, 5, 0, 0, 0])
        picture.paste(1, (4, 0, 8, 4))
        picture.save(tmp_path / "a.png", transparency=0)
    else:
        rgba.convert(mode).save(tmp_path / "a.png")
    opened = open_picture(tmp_path / "a.png", background="#ff0000")
    assert (pixel(opened, (1, 1)), pixel(opened, (6, 1))) == ((255, 0, 0), (0, 0, 0))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (16, 8), "white")
    picture.paste("black", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    opened = open_picture(tmp_path / "turned.jpg")
    assert opened.size == (8, 16)
    assert sum(pixel(opened, (4, 1))) < 60 < 700 < sum(pixel(opened, (4, 14)))


def test_cmyk_jpeg_and_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red = pixel(open_picture(tmp_path / "print.jpg"), (4, 4))
    assert red[0] > 200
    assert max(red[1:]) < 60
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(Note, match="the first frame is read"):
        assert pixel(open_picture(tmp_path / "moving.webp"), (4, 4)) == (255, 0, 0)


def test_a_photograph_with_a_second_one_in_its_file_is_no_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=frames[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixel(open_picture(tmp_path / "camera.jpg"), (4, 4))[0] > 240
    with pytest.raises(ValueError, match="does not keep class ids"):
        class_maps({"s": [tmp_path / "camera.jpg"]}, "s", 256)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "PDF"])
def test_other_formats_are_refused_whatever_the_name(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(file, format=kind)
    with pytest.raises(PictureError, match=r"picture\.png: not a PNG, JPEG or WEBP"):
        open_picture(file)


def test_large_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (100, 100)).save(tmp_path / "large.png")
    with pytest.raises(PictureError, match=r"large\.png: 100x100 is more than the 9999 pixels"):
        open_picture(tmp_path / "large.png", max_pixels=9999)
    Image.effect_noise((64, 64), 50).save(tmp_path / "half.jpg")
    whole = (tmp_path / "half.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match=r"half\.jpg: cannot be read"):
        open_picture(tmp_path / "half.jpg")
    with pytest.raises(PictureError, match=r"absent\.png: no such file"):
        open_picture(tmp_path / "absent.png")
    with pytest.raises(PictureError, match="is a folder; name a picture in it"):
        open_picture(tmp_path)


def test_bytes_survive_the_way_to_the_model_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    image = normalize(pixels)
    assert (float(image.min()), float(image.max())) == (-1, 1)
    assert all(torch.equal(to_tensor(p), pixels[0]) for p in to_pictures(image))


def test_what_is_out_of_range_is_clipped_not_wrapped() -> None:
    picture = to_pictures(torch.tensor([-1.7, 1.7]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4))
    assert [pixel(p, (0, 0)) for p in picture] == [(0, 0, 0), (255, 255, 255)]


def matrix_profile(columns: np.ndarray, gamma: float) -> bytes:
    """A minimal ICC 2 profile: XYZ (D50) of red, green and blue, one gamma."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def padded(content: bytes) -> bytes:
        return content + bytes(-len(content) % 4)

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"t\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + number(0.9642) + number(1) + number(0.8249),
        **{
            f"{c}XYZ".encode(): b"XYZ " + bytes(4) + b"".join(map(number, columns[:, i]))
            for i, c in enumerate("rgb")
        },
        **{f"{c}TRC".encode(): curve for c in "rgb"},
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += padded(content)
    size = start + len(body)
    header = struct.pack(">I4s4s4s4s4s", size, b"test", b"\x02\x20\0\0", b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + number(0.9642) + number(1) + number(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def test_an_embedded_colour_profile_is_converted_from(tmp_path):
    # the primaries of sRGB in D50, red and green exchanged, with gamma 1: linear light in another order
    srgb = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
    profile = matrix_profile(srgb[:, [1, 0, 2]], 1.0)
    stored = np.array([0, 32, 64, 128, 255])
    picture = Image.new("RGBA", (5, 5), (0, 0, 0, 255))
    for i, red in enumerate(stored):
        picture.putpixel((i, 0), (int(red), 64, 200, 255))
    picture.putpixel((0, 1), (0, 0, 0, 0))
    picture.save(tmp_path / "a.png", icc_profile=profile)
    opened = np.asarray(open_picture(tmp_path / "a.png"))

    def encoded(linear):
        low = linear <= 0.0031308
        return np.where(low, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255

    assert np.abs(opened[0, :, 1] - encoded(stored / 255)).max() < 2.5  # the file's red is green
    assert np.abs(opened[0, :, 0] - encoded(np.full(5, 64 / 255))).max() < 2.5
    assert opened[1, 0].tolist() == [255, 255, 255]  # still transparent
    picture.convert("RGB").save(tmp_path / "b.png", icc_profile=profile[:200])
    assert pixel(open_picture(tmp_path / "b.png"), (4, 0)) == (255, 64, 200)  # a damaged profile is left


def test_16_bit_grey_keeps_the_value_that_is_transparent(tmp_path):
    Image.fromarray(np.array([[1000, 2000], [30000, 65535]], np.uint16)).save(
        tmp_path / "a.png", transparency=1000
    )
    opened = open_picture(tmp_path / "a.png", background="red")
    assert [pixel(opened, at) for at in ((0, 0), (1, 0), (0, 1))] == [(255, 0, 0), (7,) * 3, (116,) * 3]


def test_a_pipe_named_like_a_picture_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(PictureError, match="it is no file"):
        open_picture(tmp_path / "a.png")


def test_conditions_are_painted_for_people():
    ids = torch.tensor([[0, 0, 1], [2, 2, 1]])
    painted = np.asarray(paint(ids, "map"))
    table = colours(3)
    assert len(set(table)) == 3
    assert [tuple(p) for p in painted.reshape(-1, 3).tolist()] == [table[i] for i in (0, 0, 1, 2, 2, 1)]
    assert np.asarray(paint(torch.tensor([[0, 1]]), "mask")).tolist() == [[0, 255]]
    picture = torch.arange(12, dtype=torch.uint8).reshape(3, 2, 2)
    assert (np.asarray(paint(picture, "picture")) == picture.permute(1, 2, 0).numpy()).all()
    boxes = np.asarray(paint([(1, 0.25, 0.25, 0.5, 0.5)], "boxes", 16))
    assert tuple(boxes[4, 4]) == colours(2)[1]  # the corner of the outline
    assert boxes[8, 8].tolist() == boxes[0, 0].tolist() == [255, 255, 255]
    assert paint("a fox", "text") is None


def with_gamma(path: Path, picture: Image.Image, gamma: float, srgb: bool = False) -> Image.Image:
    """The picture saved as a PNG with a chunk gAMA (and sRGB, which goes before it), and opened."""
    chunks = PngInfo()
    if srgb:
        chunks.add(b"sRGB", b"\0")
    chunks.add(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
    picture.save(path, pnginfo=chunks)
    return open_picture(path, background="red")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "I;16"])
def test_values_that_are_linear_in_light_become_srgb(tmp_path: Path, mode: str) -> None:
    """Of linear light 0.2158 (55 of 255), 0.5 and 1, sRGB has the levels 128, 188 and 255 (IEC 61966-2-1)."""
    stored = np.array([[0, 55, 128, 255]], np.uint8)
    if mode == "I;16":
        picture = Image.fromarray((stored.astype(float) * 257).astype(np.uint16))
    else:
        picture = Image.fromarray(stored).convert(mode)
    opened = np.asarray(with_gamma(tmp_path / "linear.png", picture, 1.0))
    assert np.abs(opened[0].astype(int) - np.array([[0], [128], [188], [255]])).max() <= 1


def test_what_is_transparent_stays_so_where_a_gamma_is_converted_from(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (2, 1), (55, 55, 55, 255))
    picture.putpixel((0, 0), (128, 128, 128, 0))
    opened = with_gamma(tmp_path / "a.png", picture, 1.0)
    assert [pixel(opened, (x, 0)) for x in (0, 1)] == [(255, 0, 0), (128, 128, 128)]


@pytest.mark.parametrize(("gamma", "srgb"), [(0.45455, False), (0.46, False), (1.0, True), (0.0, False)])
def test_a_gamma_that_means_srgb_or_says_nothing_changes_nothing(
    tmp_path: Path, gamma: float, srgb: bool
) -> None:
    picture = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    opened = with_gamma(tmp_path / "a.png", picture, gamma, srgb)
    assert np.asarray(opened)[0, :, 0].tolist() == list(range(256))
