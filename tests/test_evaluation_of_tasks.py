"""`ldmkit evaluate` of recipes of every kind of condition and of none, on models that train in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from ldmkit.cli import main

FEATURES = {"name": "efficientnet-lite1", "resize": 64}
FOLDER = {"name": "image-folder", "path": "pictures", "size": 16}
RECIPE: dict[str, Any] = {
    "recipe": 1,
    "data": FOLDER,
    "compression": {"name": "identity"},
    "denoiser": {
        "name": "unet",
        "width": 32,
        "multipliers": [1],
        "scale_shift": True,
        "blocks": 1,
        "attention": [1],
    },
    "objective": {"name": "v"},
    "train": {"diffusion": {"steps": 2, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 2},
}
SMALL = {"pictures": 6, "features": FEATURES}
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "unconditional": ({}, {"name": "kernel-distance", **SMALL}),
    "class": (
        {"conditioners": {"label": {"name": "class-embedding", "classes": 3, "width": 16}}},
        {"name": "attribute-accuracy", "field": "label", "splits": ["train"], **SMALL},
    ),
    "layout": (
        {
            "conditioners": {
                "layout": {
                    **{"name": "text-transformer", "field": "layout", "tokenizer": "boxes"},
                    **{"width": 16, "layers": 1, "heads": 1, "length": 8, "vocabulary": 64},
                }
            }
        },
        {"name": "layout-accuracy", "split": "train", "smallest": 2, **SMALL},
    ),
    "semantic": (
        {"conditioners": {"map": {"name": "spatial-rescaler", "classes": 3, "channels": 2, "stages": 0}}},
        {"name": "map-agreement", "classes": 3, "steps": 2, "splits": ["train"], **SMALL},
    ),
    "super-resolution": (
        {
            "data": {"name": "with-low-res", "of": FOLDER, "factor": 4},
            "conditioners": {"low_res": {"name": "low-res", "factor": 4, "noise": 0.1}},
        },
        {"name": "super-resolution", "split": "train", **SMALL},
    ),
    "inpainting": (
        {
            "data": {"name": "with-masks", "of": FOLDER},
            "conditioners": {"known": {"name": "masked-image"}},
            "guidance": [{"name": "known-region"}],
        },
        {"name": "inpainting", "split": "train", **SMALL},
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures with labels, maps and layouts."""
    place = tmp_path_factory.mktemp("tasks")
    (place / "pictures").mkdir()
    draws, lines = np.random.default_rng(0), []
    for i in range(16):
        label = i % 2
        pixels = draws.integers(0, 120, (16, 16, 3), dtype=np.uint8)
        pixels[..., label] += 120
        Image.fromarray(pixels).save(place / "pictures" / f"{i}.png")
        Image.fromarray(draws.integers(0, 3, (16, 16), dtype=np.uint8)).save(place / f"pictures/map-{i}.png")
        boxes = [[0, 0.0, 0.0, 0.5, 0.5], [1, 0.5, 0.5, 0.5, 0.5]]
        line = {"file_name": f"{i}.png", "label": label, "segmentation": f"map-{i}.png", "layout": boxes}
        lines.append(json.dumps(line))
    (place / "pictures/metadata.jsonl").write_text("\n".join(lines))
    return place


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_measured(task: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    parts, obedience = TASKS[task]
    frechet = {"name": "frechet", **SMALL}
    values = {**RECIPE, "name": task, **parts, "evaluate": {"metrics": [frechet, obedience]}}
    Path(f"{task}.yaml").write_text(yaml.safe_dump(values))
    for verb in ("run", "evaluate"):
        result = CliRunner().invoke(main, [verb, f"{task}.yaml"])
        assert result.exit_code == 0, result.output
    report = json.loads(Path(f"runs/{task}/evaluation/metrics.json").read_text())
    first, second = (metric["figures"] for metric in report["metrics"])
    assert first["pictures"] == 6
    assert first["frechet_efficientnet-lite1"] > first["frechet_efficientnet-lite1_of_real_pictures"]
    assert list(Path(f"runs/{task}/samples").glob("0*.png"))
    sheet = Path(f"runs/{task}/evaluation/contact.png")
    assert sheet.exists() == (task != "unconditional")
    if task == "inpainting":
        assert second["known_pixels_off_by"] == 0
    if task == "super-resolution":
        assert second["consistency"]["real"] > second["consistency"]["shuffled"]
