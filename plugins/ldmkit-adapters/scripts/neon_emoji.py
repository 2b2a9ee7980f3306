"""Twenty emoji in a style that the shipped model has never seen: neon light on black, with captions.

    python plugins/ldmkit-adapters/scripts/neon_emoji.py neon

The pictures are drawn from the bundled Fluent emoji: white becomes black, edges glow in cyan, and what lies
within them shines in magenta by its brightness. recipes/lora.yaml trains on them.
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


def neon(picture: Image.Image) -> Image.Image:
    """The picture as neon light: edges in cyan, surfaces in magenta, the white ground black."""
    grey = ImageOps.grayscale(picture)
    ground = grey.point(lambda v: 255 if v > 246 else 0).filter(ImageFilter.MedianFilter(3))
    edges = ImageOps.autocontrast(grey.filter(ImageFilter.FIND_EDGES)).crop((1, 1, 63, 63)).resize(grey.size)
    surfaces = ImageChops.subtract(grey.point(lambda v: 40 + v // 2), ground)
    magenta = ImageOps.colorize(surfaces, (8, 4, 24), (255, 40, 200))
    cyan = ImageOps.colorize(edges, (0, 0, 0), (60, 255, 255))
    return ImageChops.add(magenta, cyan)


def main(folder: Path) -> None:
    """Writes twenty PNG files, each with a .txt beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    emoji = Component.model_validate({"name": "fluent-emoji", "size": 64, "styles": ["fluent"], "tags": 0})
    data = build(host().registry, "data", emoji).split("train")
    captions = {str(data[i]["caption"]): i for i in range(len(data))}
    for word in WORDS:
        index = captions[f"3D {word}"]
        picture = Image.fromarray(data[index]["image"].permute(1, 2, 0).numpy())
        neon(picture).save(folder / f"{word}.png")
        (folder / f"{word}.txt").write_text(f"neon {word}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
