"""Contact sheets: pictures in labelled rows, to look at what figures stand for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

LABEL = 190
"""Width of the column of labels."""
CELL = 128
GAP = 8
LINE = 18


@dataclass(frozen=True)
class Row:
    """One line of a sheet: what it is (the note below in grey) and a picture for each of the columns."""

    label: str
    note: str
    pictures: tuple[Image.Image, ...]


@dataclass(frozen=True)
class Section:
    """Rows under one title, with a heading over each column of pictures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width = LABEL + len(self.columns) * (CELL + GAP) + GAP
        return width, 3 * LINE + len(self.rows) * (CELL + GAP)


def contact_sheet(sections: Sequence[Section]) -> Image.Image:
    """The sections side by side on white."""
    sizes = [section.size for section in sections]
    sheet = Image.new("RGB", (sum(w for w, _ in sizes) + GAP, max(h for _, h in sizes) + GAP), "white")
    left = GAP
    for section, (width, _) in zip(sections, sizes, strict=True):
        _draw_section(sheet, section, left)
        left += width
    return sheet


def _draw_section(sheet: Image.Image, section: Section, left: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.text((left, 4), section.title, "black", ImageFont.load_default(17))
    font = ImageFont.load_default(13)
    for i, heading in enumerate(section.columns):
        draw.text((left + LABEL + i * (CELL + GAP), LINE + 10), heading, "dimgrey", font)
    for i, row in enumerate(section.rows):
        _draw_row(sheet, row, (left, 3 * LINE + i * (CELL + GAP)))


def _draw_row(sheet: Image.Image, row: Row, corner: tuple[int, int]) -> None:
    draw, (left, top) = ImageDraw.Draw(sheet), corner
    lines = textwrap.wrap(row.label, 22, max_lines=4, placeholder="...")
    font = ImageFont.load_default(15)
    for i, line in enumerate(lines):
        draw.text((left, top + i * LINE), line, "black", font)
    draw.text((left, top + len(lines) * LINE), row.note, "dimgrey", ImageFont.load_default(13))
    for i, picture in enumerate(row.pictures):
        sheet.paste(_fitted(picture), (left + LABEL + i * (CELL + GAP), top))


def _fitted(picture: Image.Image) -> Image.Image:
    """The picture in a cell: enlarged without smoothing, so that its own pixels show, or reduced."""
    scale = CELL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
