"""What of a picture an example shows: crops drawn and fixed, padding, shapes, tags."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ldmkit.pictures import Cut, Views


def gradient(width: int, height: int) -> Image.Image:
    """A picture whose red is the column and whose green is the row."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(width), np.arange(height)[:, None]
    return Image.fromarray(pixels)


def test_a_drawn_crop_is_a_square_of_a_drawn_share_anywhere_in_the_picture() -> None:
    views = Views(8, crop="random", crop_scale=(0.5, 1.0))
    cuts = [views.cut((60, 40), key) for key in range(400)]
    sides = [cut.box[2] - cut.box[0] for cut in cuts]
    assert all(cut.box[3] - cut.box[1] == side for cut, side in zip(cuts, sides, strict=True))
    assert all(c.box[0] >= 0 and c.box[2] <= 60 and c.box[1] >= 0 and c.box[3] <= 40 for c in cuts)
    assert 20 <= min(sides) <= 21
    assert 39 <= max(sides) <= 40
    assert abs(np.mean(sides) - 30) < 1
    assert {c.box[0] for c in cuts} >= set(range(20))
    assert views.cut((60, 40), 7) == views.cut((60, 40), 7)
    assert views.cut((60, 40)).box == (10, 0, 50, 40)  # nothing is drawn: the middle


@pytest.mark.parametrize("crop", ["center", "random", "pad"])
def test_a_map_shows_what_the_picture_shows(crop: str) -> None:
    picture = gradient(60, 40)
    columns = torch.from_numpy(np.asarray(picture)[..., 0].copy()).long() + 1
    for key in range(20):
        cut, shown = Views(20, "black", crop).picture(picture, key)
        found = cut.nearest(columns)
        inside = found > 0
        assert bool(inside.all()) == (crop != "pad")
        error = (shown[0][inside].float() - (found[inside].float() - 1)).abs()
        assert error[error < 255].median() <= 2


def test_padding_shows_the_whole_picture_on_the_background() -> None:
    cut, shown = Views(16, "blue", "pad").picture(gradient(60, 30))
    assert shown[2, :4].eq(255).all()
    assert shown[2, 12:].eq(255).all()
    assert shown[2, 4:12].eq(0).all()
    assert shown[0, 8, 0] < 5 < 50 < shown[0, 8, 15]
    # the left half of the picture is the left half of the square; of its height the picture takes a half
    assert cut.boxes([[3, 0.0, 0.0, 0.5, 1.0]]) == ((3, 0.0, 0.25, 0.5, 0.5),)


def test_every_picture_goes_to_the_nearest_shape_and_shapes_cost_alike() -> None:
    views = Views(512, crop="buckets", bucket_step=64)
    assert views.shape((1000, 1000)) == (512, 512)
    assert views.shape((3000, 2000)) == (640, 384)
    assert views.shape((500, 1000)) == (384, 704)
    for width, height in views.shapes:
        assert width % 64 == height % 64 == 0
        assert abs(width * height / 512**2 - 1) < 0.07
    cut, shown = views.picture(gradient(90, 45))
    assert shown.shape == (3, 384, 704)
    assert cut.box[1] == 0 or cut.box[0] == 0


def test_tags_are_shuffled_and_dropped_but_never_all() -> None:
    views = Views(8, shuffle_tags=True, drop_tags=0.5)
    tags = "red, fox, forest, night"
    drawn = [views.text(tags, key).split(", ") for key in range(300)]
    assert all(set(found) <= set(tags.split(", ")) and found for found in drawn)
    assert {len(found) for found in drawn} == {1, 2, 3, 4}
    assert 1.9 < np.mean([len(found) for found in drawn]) < 2.3
    assert len({found[0] for found in drawn}) == 4
    assert views.text(tags, 3) == views.text(tags, 3)
    assert views.text(tags, None) == tags
    assert all(text in tags for text in views.text((tags, "fox"), 1)[1:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"background": "whit"}, "unknown colour 'whit'"),
        ({"crop_scale": (0.9, 0.5)}, "must not be above"),
        ({"crop": "buckets", "bucket_step": 48}, "no multiple of bucket_step 48"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Views(64, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1, 4, 4, 8, 8], r"box \(4, 4, 8, 8\): expects x, y, width, height as shares of the picture"),
        ([1, 0.5, 0.5, -0.2, 0.2], "as shares of the picture"),
        ([1, 0.1, 0.1, 0.2], r"an object is five numbers, .* not \[1, 0\.1, 0\.1, 0\.2\]"),
        ([1, "0", "0", "1", "1"], "an object is five numbers"),
        (7, "an object is five numbers"),
    ],
)
def test_boxes_that_are_no_shares_of_the_picture_are_refused(row, said):
    cut = Cut((32, 16), (0, 0, 32, 16), (32, 16))
    assert cut.boxes([[3, 0.9, 0.0, 0.2, 1.0]])[0][1] == 0.9  # what sticks out is clipped
    with pytest.raises(ValueError, match=said):
        cut.boxes([row])
