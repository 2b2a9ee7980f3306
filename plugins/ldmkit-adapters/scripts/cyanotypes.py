"""Twenty emoji in a style that the shipped model has never seen, blue prints on white, with captions.

    python plugins/ldmkit-adapters/scripts/cyanotypes.py cyanotypes

The pictures are drawn from the bundled Fluent emoji at 128 x 128; recipes/lora.yaml trains on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter, ImageOps

from ldmkit.engine.components import build
from ldmkit.host.plugins import host
from ldmkit.recipe import Component

WORDS = (
    "bear", "cat", "cherries", "cow", "dog", "elephant", "frog", "house", "lemon", "locomotive",
    "panda", "pear", "tulip", "turtle", "banana", "snail", "cactus", "robot", "duck", "pig",
)  # fmt: skip


def cyanotype(picture: Image.Image) -> Image.Image:
    """The picture in blue on white: every colour becomes a shade between navy and white, edges darker."""
    grey = ImageOps.grayscale(picture)
    edges = grey.filter(ImageFilter.CONTOUR).filter(ImageFilter.GaussianBlur(1.4))
    shaded = ImageChops.multiply(ImageOps.autocontrast(grey), edges)
    return ImageOps.colorize(shaded, (8, 24, 96), (255, 255, 255), mid=(70, 130, 220))


def main(folder: Path) -> None:
    """Writes twenty PNG files, each with a .txt beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {"size": 128, "styles": ["fluent"], "tags": 0, "colours": False}
    emoji = Component.model_validate({"name": "emoji", **parameters})
    data = build(host().registry, "data", emoji).split("train")
    captions = {str(data[i]["caption"]): i for i in range(len(data))}
    for word in WORDS:
        index = captions[f"3D {word}"]
        picture = Image.fromarray(data[index]["image"].permute(1, 2, 0).numpy())
        cyanotype(picture).save(folder / f"{word}.png")
        (folder / f"{word}.txt").write_text(f"cyanotype {word}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
