"""Recipes with a condition of each kind, on models that train in seconds, and how tests call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import small_recipes
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from ldmkit.cli import main

UNET = {**small_recipes.UNET, "attention": [1]}
RECIPE: dict[str, Any] = {
    "recipe": 1,
    "name": "pixels",
    "data": {"name": "image-folder", "path": "pictures", "size": 16},
    "compression": {"name": "identity"},
    "denoiser": UNET,
    "objective": {"name": "v"},
    "train": {"diffusion": {"steps": 2, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 4},
}
CLASSES = {"label": {"name": "class-embedding", "width": 16, "names": ["red", "blue"], "dropout": 0.2}}
MAP = {"segmentation": {"name": "spatial-rescaler", "classes": 3, "channels": 2, "stages": 0, "dropout": 0.2}}
HOLES = {
    "data": {"name": "with-masks", "of": RECIPE["data"]},
    "guidance": [{"name": "known-region"}],
    "sample": {"fields": {"image": ["pictures/3.png"], "mask": ["mask.png"]}},
}


def write(place: Path, name: str, **changes: Any) -> None:
    values = {**RECIPE, "name": name, **changes}
    (place / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def drawn(*arguments: str, out: str) -> list[Path]:
    result = call(*arguments, "--out", out)
    assert result.exit_code == 0, result.output
    return sorted(path for path in Path(out).glob("*.png") if path.name != "grid.png")


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=int)
