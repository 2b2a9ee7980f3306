"""Maps of classes, and the boxes that follow from them.

A map is drawn, not estimated from the picture: it is the same avatar without anti-aliasing, with every shape
in a flat colour that stands for its class. Later shapes cover earlier ones, so a map shows what can be seen.
Shapes that only shade what lies below them are left out.
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from dicebear import Avatar
from jaxtyping import UInt8

from ldmkit_avatars.drawing import render
from ldmkit_avatars.styles import CLASSES, Knowledge, definition, knowledge, style

SHADE = 0.5
"""Opacity up to which a shape shades what is below it."""
UNTOUCHED = ("mask", "clipPath", "metadata", "linearGradient", "radialGradient")
SVG = "http://www.w3.org/2000/svg"
UNSURE = 255
Box = tuple[int, float, float, float, float]
"""(class, x, y, width, height), sides as shares of the picture's."""


def draw_map(name: str, seed: str, size: int) -> UInt8[np.ndarray, "H W"]:
    """The class of each pixel of the avatar that `seed` draws in the style `name`."""
    painted = np.asarray(render(_flat(name, seed), size, _hex(0)))
    codes = painted[..., 0]
    sure = (painted == _code(codes)).all(-1) & (codes < len(CLASSES))
    return _fill(np.where(sure, codes, UNSURE).astype(np.uint8))


def boxes(labels: UInt8[np.ndarray, "H W"]) -> tuple[Box, ...]:
    """The box around all visible pixels of each class but the background, in the order of ids, with sides in
    [0, 1]."""
    height, width = labels.shape
    objects = []
    for kind in sorted(set(np.unique(labels).tolist()) - {0}):
        rows, columns = np.nonzero(labels == kind)
        top, left = int(rows.min()), int(columns.min())
        tall, wide = int(rows.max()) + 1 - top, int(columns.max()) + 1 - left
        objects.append((kind, left / width, top / height, wide / width, tall / height))
    return tuple(objects)


def _code(kind: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "... 3"]:
    """The colour that stands for a class; mixtures of two such colours stand for none."""
    kinds = kind.astype(np.int32)
    return np.stack([kinds, 255 - kinds, kinds * 53 % 256], -1).astype(np.uint8)


def _hex(kind: int) -> str:
    return "#" + bytes(_code(np.array(kind, np.uint8)).tolist()).hex()


def _flat(name: str, seed: str) -> str:
    """The avatar in flat colours of classes.

    Named colours are first replaced by markers, which moves no other choice of the seed, so that shapes in a
    named colour can be told from others.
    """
    known = knowledge(name)
    markers = {f"#fe01{i:02x}": colour for i, colour in enumerate(definition(name)["colors"])}
    options = {f"{colour}Color": [marker] for marker, colour in markers.items()}
    svg = Avatar(style(name), {"seed": seed, **options}).to_string()
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(svg)
    root.set("shape-rendering", "crispEdges")
    kinds = {m: CLASSES.index(known.colours[c]) for m, c in markers.items() if c in known.colours}
    _flatten(root, CLASSES.index(known.base), kinds, known)
    return ElementTree.tostring(root, encoding="unicode")


def _flatten(element: Element, kind: int, kinds: dict[str, int], known: Knowledge) -> None:
    """Paints an element and all below it; `kinds`: classes of the marked colours."""
    kind = _kind_of_part(element.get("id", ""), known, kind)
    for paint in ("fill", "stroke"):
        value = element.get(paint, "none")
        if value != "none":
            element.set(paint, _hex(kinds.get(value, kind)))
    for attribute in ("opacity", "fill-opacity", "style"):  # a style here is a blend mode
        element.attrib.pop(attribute, None)
    for child in list(element):
        if _local(child) in UNTOUCHED:
            continue
        if _shades(child):
            element.remove(child)
        else:
            _flatten(child, kind, kinds, known)


def _kind_of_part(identity: str, known: Knowledge, default: int) -> int:
    """The class of the group of a part, whose id is PART-VARIANT-HASH."""
    part, _, rest = identity.partition("-")
    if part not in known.parts:
        return default
    variant = rest.rpartition("-")[0]
    return CLASSES.index(known.variants.get(part, {}).get(variant, known.parts[part]))


def _shades(element: Element) -> bool:
    """Does it only shade what is below?"""
    if float(element.get("opacity", 1)) <= SHADE:
        return True
    return float(element.get("fill-opacity", 1)) <= SHADE and element.get("stroke") is None


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _fill(labels: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    """Pixels whose colour stands for no class (soft edges of masks) take a neighbour's."""
    while (labels == UNSURE).any():
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            neighbour = np.roll(labels, shift, axis)
            labels = np.where(labels == UNSURE, neighbour, labels)
    return labels
