"""Pictures, masks and class maps in every form that a caller may give them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ldmkit.pictures import (
    batch,
    class_maps,
    masks,
)


def test_class_maps_of_16_bits_keep_their_ids_and_jpeg_is_refused(tmp_path):
    ids = np.array([[0, 255, 256], [999, 1000, 1]], np.uint16)
    Image.fromarray(ids).save(tmp_path / "a.png")
    found = class_maps({"segmentation": [str(tmp_path / "a.png")]}, "segmentation", 1001)
    assert found[0].tolist() == ids.tolist()
    assert class_maps({"s": [ids, ids]}, "s", 1001)[1].tolist() == ids.tolist()
    with pytest.raises(ValueError, match="s: expects maps of class ids 0 to 999"):
        class_maps({"s": [tmp_path / "a.png"]}, "s", 1000)
    Image.fromarray(ids.astype(np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg is a JPEG file, which does not keep class ids"):
        class_maps({"s": [tmp_path / "a.jpg"]}, "s", 1000)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_class_maps_that_are_grey_keep_their_ids_however_they_are_saved(tmp_path, mode):
    ids = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    Image.fromarray(ids).convert(mode).save(tmp_path / "a.png")
    assert class_maps({"s": [tmp_path / "a.png"]}, "s", 256)[0].tolist() == ids.tolist()


def test_masks_in_every_form_say_the_same(tmp_path):
    hole = np.array([[False, True], [False, False]])
    palette = Image.fromarray(hole.astype(np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    forms = {
        "grey": Image.fromarray(hole.astype(np.uint8) * 255),
        "ones": Image.fromarray(hole.astype(np.uint8)),  # 0 and 1, as many tools write them
        "bit": Image.fromarray(hole),
        "palette": palette,
        "deep": Image.fromarray(hole.astype(np.uint16) * 65535),
        "eight of sixteen bits": Image.fromarray(hole.astype(np.uint16) * 255),
        "one of sixteen bits": Image.fromarray(hole.astype(np.uint16)),
        "colour": Image.fromarray(np.stack([hole.astype(np.uint8) * 255] * 3, -1)),
    }
    for name, picture in forms.items():
        picture.save(tmp_path / f"{name}.png")
        for given in (picture, tmp_path / f"{name}.png", str(tmp_path / f"{name}.png")):
            assert masks({"mask": [given]}, "mask")[0, 0].tolist() == hole.tolist(), (name, given)
    for array in (hole, hole.astype(np.float32), torch.from_numpy(hole)):
        assert masks({"mask": [array]}, "mask")[0, 0].tolist() == hole.tolist()
    with pytest.raises(ValueError, match="mask: a picture is in colour"):
        masks({"mask": [Image.new("RGB", (2, 2), "red")]}, "mask")


def test_pictures_may_be_arrays_with_their_channels_last(tmp_path):
    pixels = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = batch({"image": [tmp_path / "a.png"]}, "image")
    assert torch.equal(batch({"image": [pixels]}, "image"), expected)
    assert torch.equal(batch({"image": pixels[None]}, "image"), expected)
    assert torch.equal(batch({"image": [pixels.transpose(2, 0, 1)]}, "image"), expected)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int32, np.int64, np.uint32])
def test_whole_numbers_of_any_type_are_bytes(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    own = batch({"image": [pixels.astype(kind)]}, "image")
    assert torch.allclose(own[0], torch.from_numpy(pixels).movedim(-1, 0).float() / 127.5 - 1, atol=1e-6)
    assert torch.equal(own, batch({"image": torch.from_numpy(pixels).movedim(-1, 0)[None]}, "image"))
    hole = np.where(pixels[..., 0] < 100, 90, 200)
    expected = torch.from_numpy(hole >= 128)[None, None].float()
    assert torch.equal(masks({"mask": [hole.astype(kind)]}, "mask"), expected)
    for read in (batch, masks):
        with pytest.raises(ValueError, match="image: expects whole numbers from 0 to 255; found 0 to 256"):
            read({"image": [np.tile(np.array([0, 256], kind), (2, 1))]}, "image")


@pytest.mark.parametrize("value", [200.0, -3.0, float("nan"), float("inf")])
def test_floats_that_are_no_values_of_a_picture_are_refused(value):
    """Bytes that were made floats, and what a computation has spoilt; a little beyond the range is none."""
    with pytest.raises(ValueError, match=r"i: expects floats in \[-1, 1\], or whole numbers; found"):
        batch({"i": [np.full((4, 4, 3), value)]}, "i")
    assert float(batch({"i": [np.full((4, 4, 3), 1.05)]}, "i").max()) == pytest.approx(1.05)
    with pytest.raises(ValueError, match=r"m: expects floats in \[0, 1\], or whole numbers; found"):
        masks({"m": [np.full((4, 4), value)]}, "m")
