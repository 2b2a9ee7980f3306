"""What a file holds is what is read: grey levels of few bits, and class ids of files that keep them alone."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldmkit.errors import Note
from ldmkit.pictures import class_maps, decode_bytes, masks, open_picture, read

ROWS = [[0, 1, 2, 3, 0], [3, 3, 1, 0, 2]]


def grey_png(rows: list[list[int]], bits: int, clear: int | None = None) -> bytes:
    """A grey PNG written by hand: those levels in so many bits each, one of them transparent."""

    def chunk(name: bytes, content: bytes) -> bytes:
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    lines = b""
    for row in rows:
        line = "".join(f"{level:0{bits}b}" for level in row)
        line += "0" * (-len(line) % 8)
        lines += b"\0" + int(line, 2).to_bytes(len(line) // 8, "big")
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)
    transparent = b"" if clear is None else chunk(b"tRNS", struct.pack(">H", clear))
    parts = [chunk(b"IHDR", header), transparent, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("bits", "top"), [(1, 1), (2, 3), (4, 15), (8, 200), (16, 60000)])
def test_class_ids_of_any_number_of_bits_are_those_in_the_file(tmp_path: Path, bits: int, top: int) -> None:
    rows = [[min(level, top) for level in row] for row in [*ROWS, [top] * 5]]
    (tmp_path / "map.png").write_bytes(content := grey_png(rows, bits))
    for given in (tmp_path / "map.png", Image.open(tmp_path / "map.png")):
        assert class_maps({"s": [given]}, "s", top + 1)[0].tolist() == rows
    assert decode_bytes(content, "map", lambda picture: read(picture, "map")).tolist() == rows
    with pytest.raises(ValueError, match=f"found 0 to {top}"):
        class_maps({"s": [tmp_path / "map.png"]}, "s", top)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_mask_of_few_bits_is_black_and_white_or_zeros_and_ones(tmp_path: Path, bits: int) -> None:
    hole = [[0, 1, 0], [1, 1, 0]]
    for level in (1, 2**bits - 1):
        (tmp_path / "mask.png").write_bytes(grey_png([[level * x for x in row] for row in hole], bits))
        assert masks({"mask": [tmp_path / "mask.png"]}, "mask")[0, 0].tolist() == hole


@pytest.mark.parametrize("bits", [2, 4])
def test_a_level_of_few_bits_that_is_transparent_shows_the_background(tmp_path: Path, bits: int) -> None:
    (tmp_path / "a.png").write_bytes(grey_png([[0, 1, 2**bits - 1]], bits, clear=1))
    opened = np.asarray(open_picture(tmp_path / "a.png", background="red"))
    assert opened[0].tolist() == [[0, 0, 0], [255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("more", [{}, {"save_all": True}, {"alpha": True}], ids=str)
def test_class_maps_are_read_from_lossless_webp_alone(tmp_path: Path, more: dict[str, bool]) -> None:
    """As a picture, as an animation, and with transparency, which all are stored differently."""
    ids = np.random.default_rng(0).integers(0, 5, (32, 32), dtype=np.uint8)
    picture = Image.fromarray(ids).convert("RGBA" if more.pop("alpha", False) else "RGB")
    frames = {"append_images": [Image.new("RGB", (32, 32))]} if more else {}
    picture.save(tmp_path / "whole.webp", lossless=True, exif=Image.Exif(), **more, **frames)
    picture.save(tmp_path / "near.webp", quality=90, **more, **frames)
    picture.convert("RGB").save(tmp_path / "near.jpg", quality=95)
    assert class_maps({"s": [tmp_path / "whole.webp"]}, "s", 5)[0].tolist() == ids.tolist()
    for name, kind in (("near.webp", "lossy WEBP"), ("near.jpg", "JPEG")):
        refused = rf"{name} is a {kind} file, which does not keep class ids: save it as PNG"
        with pytest.raises(ValueError, match=refused):
            class_maps({"s": [tmp_path / name]}, "s", 5)
        with pytest.raises(ValueError, match=f"is a {kind} file"):
            class_maps({"s": [Image.open(tmp_path / name)]}, "s", 5)


def test_a_mask_may_be_lossy(tmp_path: Path) -> None:
    hole = np.zeros((32, 32), np.uint8)
    hole[8:24, 8:24] = 255
    for suffix in ("webp", "jpg"):
        Image.fromarray(hole).save(tmp_path / f"mask.{suffix}", quality=90)
        made = masks({"mask": [tmp_path / f"mask.{suffix}"]}, "mask")[0, 0]
        assert made.tolist() == (hole // 255).tolist()


def test_a_picture_that_came_in_memory_has_its_levels_as_they_are() -> None:
    levels = np.array([[0, 85], [170, 255]], np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    for given in (Image.fromarray(levels), Image.open(file)):
        assert class_maps({"s": [given]}, "s", 256)[0].tolist() == levels.tolist()


def test_of_webp_maps_that_may_be_nearly_lossless_it_is_said(tmp_path: Path) -> None:
    """A nearly lossless file is stored as a lossless one is, but never with a palette."""
    draws = np.random.default_rng(0)
    few = draws.integers(0, 5, (32, 32), dtype=np.uint8)
    smooth = np.kron(draws.integers(0, 20, (16, 16), dtype=np.uint8), np.ones((16, 16), np.uint8))
    for name, ids in (("few", few), ("smooth", smooth)):
        Image.fromarray(ids).convert("RGB").save(tmp_path / f"{name}.webp", lossless=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert class_maps({"s": [tmp_path / "few.webp"]}, "s", 5)[0].tolist() == few.tolist()
    with pytest.warns(Note, match="nearly lossless, which its file does not tell, may not: save maps as PNG"):
        assert class_maps({"s": [tmp_path / "smooth.webp"]}, "s", 20)[0].tolist() == smooth.tolist()
