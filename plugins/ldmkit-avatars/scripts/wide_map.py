"""Writes a map of a landscape that is as wide as you like, for a model of semantic maps.

    python plugins/ldmkit-avatars/scripts/wide_map.py map.png --width 1024

A grey PNG of class ids. Column x depends on the seed and on x alone: a wider map only adds columns.
"""

from __future__ import annotations

from pathlib import Path

import click
from ldmkit_avatars.wide import WideMap
from PIL import Image


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--width", type=click.IntRange(1), default=1024, show_default=True)
@click.option("--height", type=click.IntRange(16), default=128, show_default=True, help="A multiple of 4.")
@click.option("--start", type=int, default=0, show_default=True, help="The first column.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(out: Path, width: int, height: int, start: int, seed: int) -> None:
    """Write the map to OUT."""
    Image.fromarray(WideMap(seed, height).columns(start, start + width)).save(out, "PNG")


if __name__ == "__main__":
    main()
