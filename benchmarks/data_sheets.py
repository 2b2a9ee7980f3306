"""Draws the pictures of docs/data-sets.md: each data set with its maps and boxes.

python benchmarks/data_sheets.py docs/images
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
from ldmkit_avatars.dataset import Avatars, Drawings, Landscapes
from ldmkit_avatars.styles import CLASSES
from ldmkit_avatars.wide import WideMap
from ldmkit_data.emoji.styles import EmojiStyles, Style
from PIL import Image, ImageDraw

SIZE = 96
COLUMNS = 6
EMOJI = ("1f98a", "1f34e", "1f680", "1f382", "1f427", "1f33b", "1f355", "2602", "1f418", "1f3b8")
COLOURS = np.array(
    [[255, 255, 255]]
    + [
        [
            int(255 * c)
            for c in colorsys.hsv_to_rgb(i * 0.381 % 1, 0.5 + 0.4 * (i % 2), 0.6 + 0.35 * (i % 3 > 0))
        ]
        for i in range(1, len(CLASSES))
    ],
    np.uint8,
)
"""A colour for each class; the background is white."""


def picture(example: Mapping[str, Any]) -> Image.Image:
    """An example's picture."""
    return Image.fromarray(example["image"].permute(1, 2, 0).contiguous().numpy())


def painted(labels: np.ndarray) -> Image.Image:
    """A map in the classes' colours."""
    return Image.fromarray(COLOURS[labels])


def boxed(example: Mapping[str, Any]) -> Image.Image:
    """The boxes of an example's parts over its picture, dimmed."""
    dim = Image.blend(picture(example), Image.new("RGB", picture(example).size, "white"), 0.6)
    pen, side = ImageDraw.Draw(dim), dim.width
    for kind, x, y, width, height in example["layout"]:
        corners = (x * side, y * side, (x + width) * side - 1, (y + height) * side - 1)
        pen.rectangle(corners, outline=tuple(COLOURS[kind].tolist()), width=2)
    return dim


def sheet(rows: Sequence[Sequence[Image.Image]], size: int = SIZE) -> Image.Image:
    """Pictures in rows, each scaled to the same height."""
    scaled = [
        [p.resize((p.width * size // p.height, size), Image.Resampling.LANCZOS) for p in r] for r in rows
    ]
    whole = Image.new("RGB", (max(sum(p.width for p in row) for row in scaled), size * len(scaled)), "white")
    for top, row in enumerate(scaled):
        left = 0
        for part in row:
            whole.paste(part, (left, top * size))
            left += part.width
    return whole


def drawings(data: Drawings, first: int, step: int) -> list[list[Image.Image]]:
    """A row of pictures, one of their maps, one of their boxes."""
    examples = [data[first + i * step] for i in range(COLUMNS)]
    return [
        [picture(e) for e in examples],
        [painted(e["segmentation"].numpy()) for e in examples],
        [boxed(e) for e in examples],
    ]


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def main(out: Path) -> None:
    """Write the sheets into the folder OUT."""
    avatars, landscapes, emoji = Avatars(), Landscapes(), EmojiStyles()
    styles = len({avatars[i]["class_name"] for i in range(12)})
    by_style = [drawings(avatars, style, styles) for style in range(styles)]
    left, right = by_style[: styles // 2], by_style[styles // 2 :]
    rows = [[*a, *b] for one, two in zip(left, right, strict=True) for a, b in zip(one, two, strict=True)]
    save(sheet(rows), out / "data-avatars.png")
    save(sheet(drawings(landscapes, 0, 1)), out / "data-landscapes.png")
    save(sheet([[painted(WideMap(5).columns(0, 1024))]], 128), out / "data-wide-map.png")
    places = {(r.concept, r.style): i for i, r in enumerate(emoji._rows)}
    blank = Image.new("RGB", (128, 128), "white")
    shown = [
        [picture(emoji[places[c, s]]) if (c, s) in places else blank for c in EMOJI] for s in get_args(Style)
    ]
    save(sheet(shown, 64), out / "data-emoji.png")


def save(picture: Image.Image, path: Path) -> None:
    """With a palette: these are flat colours."""
    picture.quantize(128).save(path, optimize=True)
    click.echo(f"{path}: {picture.width}x{picture.height}, {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
