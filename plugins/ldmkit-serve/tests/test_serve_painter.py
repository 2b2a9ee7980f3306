"""What comes back from the painter: anybody's text, of which only maps and boxes that fit are taken."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from ldmkit_serve import painter


def painted(height=2, width=3, ids=b"\x00\x01\x02\x03\x04\x00", **more):
    return json.dumps({"height": height, "width": width, "ids": base64.b64encode(ids).decode(), **more})


def test_a_map_comes_back_row_by_row():
    assert painter.read_map(painted(), 5).tolist() == [[0, 1, 2], [3, 4, 0]]


def test_a_map_survives_the_way_to_the_page_and_back():
    labels = np.random.default_rng(0).integers(0, 9, (16, 24), dtype=np.uint8)
    assert (painter.read_map(painter.write_map(labels), 9) == labels).all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1]",
        "{",
        "[" * 100_000,
        painted(ids=b"\x00"),
        painted(ids=b"\x09" * 6),
        painted(height=-1),
        painted(height=True),
        painted(height=2**40, width=2**40),
        json.dumps({"height": 1, "width": 1, "ids": "%%%"}),
        json.dumps({"height": 1, "width": 1, "ids": 7}),
    ],
)
def test_a_text_that_is_no_map_is_refused_in_words(text):
    with pytest.raises(ValueError, match="paint"):
        painter.read_map(text, 5)


def test_boxes_are_kept_within_the_picture():
    text = json.dumps({"height": 8, "width": 8, "boxes": [[1, 0.5, 0.25, 0.75, 0.5], [0, -0.5, 0, 0.5, 1]]})
    assert painter.read_boxes(text, 2) == [(1, 0.5, 0.25, 0.5, 0.5), (0, 0.0, 0, 0.5, 1)]


@pytest.mark.parametrize(
    "row",
    [[5, 0, 0, 1, 1], [0, 0, 0, 1], ["a", 0, 0, 1, 1], [0.5, 0, 0, 1, 1], [0, float("nan"), 0, 1, 1], None],
)
def test_a_box_of_no_class_or_of_another_form_is_refused(row):
    with pytest.raises(ValueError, match="box"):
        painter.read_boxes(json.dumps({"height": 8, "width": 8, "boxes": [row]}), 2)


def test_boxes_have_to_be_drawn_first_and_are_not_endless():
    for boxes in ([], [[0, 0, 0, 1, 1]] * 101):
        with pytest.raises(ValueError, match="boxes"):
            painter.read_boxes(json.dumps({"height": 8, "width": 8, "boxes": boxes}), 2)


def test_colours_of_classes_differ():
    page = painter.painter("classes", [f"class {i}" for i in range(24)], (8, 8))
    shades = [one["colour"] for one in page.props["classes"]]
    assert len(set(shades)) == 24
    assert all(len(shade) == 7 and shade[0] == "#" for shade in shades)
