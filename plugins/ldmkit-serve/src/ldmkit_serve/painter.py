"""The painter: a canvas in the page for maps of classes, masks and boxes, and the reading of what it sends.

What a browser sends is untrusted text: every number of it is checked before it is used.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

import gradio
import numpy as np
import PIL.Image
from jaxtyping import UInt8

from ldmkit.pictures import colours

Mode = Literal["classes", "mask", "boxes"]
MAX_PIXELS = 2**20
"""Pixels of a painted map, at most."""
MAX_BOXES = 100
Box = tuple[int, float, float, float, float]
"""(class, x, y, width, height), sides as shares of the picture's."""


def painter(
    mode: Mode, classes: Sequence[str], size: tuple[int, int], *, widest: int = 0, name: str = ""
) -> gradio.HTML:
    """The canvas. size: (height, width) in the map's own pixels. widest: the number of columns to which the
    user may widen it. name: the element's id in the page."""
    height, width = size
    named = zip(classes, colours(len(classes)), strict=True)
    palette = [{"name": one, "colour": "#{:02x}{:02x}{:02x}".format(*rgb)} for one, rgb in named]
    return gradio.HTML(
        value="",
        html_template=_text("painter.html"),
        css_template=_text("painter.css"),
        js_on_load=_text("painter.js"),
        mode=mode,
        classes=palette,
        width=width,
        height=height,
        widest=max(widest, width),
        background="",
        elem_id=name or None,
    )


def read_map(text: str, classes: int) -> UInt8[np.ndarray, "H W"]:
    """The class of each pixel of a painted map. Raises ValueError where the text is no map of these
    classes."""
    height, width, value = _read(text)
    try:
        raw = base64.b64decode(value["ids"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise ValueError("the painted map cannot be read; paint it again") from None
    if len(raw) != height * width:
        raise ValueError(f"the painted map holds {len(raw)} pixels, not {height} x {width}")
    labels = np.frombuffer(raw, np.uint8).reshape(height, width)
    if labels.size and int(labels.max()) >= classes:
        raise ValueError(f"the painted map holds class {int(labels.max())}; there are {classes}")
    return labels


def read_boxes(text: str, classes: int) -> list[Box]:
    """The drawn boxes, with sides in [0, 1]. Raises ValueError where the text holds none, too many, or boxes
    outside the picture."""
    _, _, value = _read(text)
    rows = value.get("boxes")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_BOXES:
        raise ValueError(f"draw between 1 and {MAX_BOXES} boxes first")
    return [_box(row, classes) for row in rows]


def write_map(labels: UInt8[np.ndarray, "H W"]) -> str:
    """A map in the form that the painter reads."""
    height, width = labels.shape
    ids = base64.b64encode(np.ascontiguousarray(labels, np.uint8).tobytes()).decode()
    return json.dumps({"width": width, "height": height, "ids": ids})


def write_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> str:
    """Boxes in the form that the painter reads; size: the (height, width) of its canvas."""
    return json.dumps({"height": size[0], "width": size[1], "boxes": [list(box) for box in boxes]})


def background(picture: PIL.Image.Image) -> str:
    """A picture as the data URI that the painter shows below a mask."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _read(text: str) -> tuple[int, int, dict[str, Any]]:
    try:
        value = json.loads(text or "")
        height, width = value["height"], value["width"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("nothing is painted yet") from None
    if not all(type(side) is int and side > 0 for side in (height, width)) or height * width > MAX_PIXELS:
        raise ValueError(f"a painted map has at most {MAX_PIXELS} pixels")
    return height, width, value


def _box(row: Any, classes: int) -> Box:
    numbers = (
        isinstance(row, list)
        and len(row) == 5
        and all(type(v) in (int, float) and math.isfinite(v) for v in row)
    )
    if not numbers or type(row[0]) is not int or not 0 <= row[0] < classes:
        raise ValueError("a box is (class, x, y, width, height) with one of the classes")
    kind, x, y, width, height = row
    x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
    return kind, x, y, min(max(width, 0.0), 1 - x), min(max(height, 0.0), 1 - y)


def _text(name: str) -> str:
    return files("ldmkit_serve").joinpath(name).read_text(encoding="utf-8")
