"""A folder for the tests of conditions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conditioned import CLASSES, HOLES, MAP, UNET, write
from PIL import Image


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, maps, masks, and recipes for each kind of condition, not yet trained."""
    place = tmp_path_factory.mktemp("place")
    (place / "pictures").mkdir()
    draws, lines = np.random.default_rng(0), []
    for i in range(12):
        pixels = draws.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "pictures" / f"{i}.png")
        classes = draws.integers(0, 3, (16, 16), dtype=np.uint8)
        Image.fromarray(classes).save(place / f"map-{i}.png")
        lines.append({"file_name": f"{i}.png", "label": i % 2, "segmentation": classes.tolist()})
    (place / "pictures/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    hole = np.zeros((16, 16), np.uint8)
    hole[4:10, 4:10] = 255
    Image.fromarray(hole).save(place / "mask.png")
    Image.fromarray(hole[:8]).save(place / "half-mask.png")
    write(place, "plain")
    write(place, "classes", conditioners=CLASSES, guidance=[{"name": "classifier-free", "scale": 2}])
    kept = {name: {**slot, "dropout": 0} for name, slot in {**CLASSES, **MAP}.items()}
    write(place, "kept", conditioners=kept, guidance=[{"name": "classifier-free"}])
    write(place, "both", conditioners={**CLASSES, **MAP}, guidance=[{"name": "classifier-free"}])
    write(place, "words", conditioners={"caption": {"name": "text-transformer", "width": 32, "layers": 1}})
    write(place, "holes", **HOLES)
    write(place, "levels", denoiser={**UNET, "multipliers": [1, 2]})
    return place


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
