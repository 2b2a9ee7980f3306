"""Draws the rough apple that recipes/img2img.yaml and recipes/clip-edit.yaml start from.

    python plugins/ldmkit-zoo/scripts/draw_sketch.py recipes/inputs/sketch.png

Disc, stalk and leaf, drawn four times as large and reduced.
"""

from __future__ import annotations

from pathlib import Path

import click
from PIL import Image, ImageDraw


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def main(file: Path) -> None:
    """Write the sketch to FILE, 128 x 128."""
    picture = Image.new("RGB", (512, 512), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((80, 140, 436, 476), fill=(214, 52, 44))
    draw.line((259, 168, 278, 66), fill=(107, 66, 38), width=24)
    draw.ellipse((280, 58, 404, 128), fill=(84, 160, 62))
    picture.resize((128, 128), Image.Resampling.LANCZOS).save(file)


if __name__ == "__main__":
    main()
