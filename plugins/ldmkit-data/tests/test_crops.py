"""Crops, shapes, tags and the smallest size of a folder, and what a training does with them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ldmkit_data.image_folder import ImageFolder
from ldmkit_data.union import Union
from PIL import Image
from small_recipes import UNET

from ldmkit.engine.system import System, assemble
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.recipe import load, resolve
from ldmkit.training.compression import CompressionStage
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.look import look_at_data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 noisy pictures, wide, high and square, with maps and tags."""
    draws = np.random.default_rng(0)
    root = tmp_path / "pictures"
    (root / "maps").mkdir(parents=True)
    lines = []
    for i in range(40):
        height, width = [(48, 32), (32, 48), (32, 32), (32, 34)][i % 4]
        pixels = draws.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{i:02}.png")
        Image.fromarray(pixels[..., 0] // 64).save(root / f"maps/{i:02}.png")
        lines.append({"file_name": f"{i:02}.png", "caption": "a, b, c", "map": f"maps/{i:02}.png"})
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def test_a_key_draws_the_crop_and_indexing_draws_nothing(folder: Path) -> None:
    data = ImageFolder(path=folder, size=16, crop="random").aligned({"map": "map"})
    plain = ImageFolder(path=folder, size=16).aligned({"map": "map"})
    assert "image" in data.drawn
    assert torch.equal(data[0]["image"], plain[0]["image"])
    one, other, again = (data.view(0, None, key) for key in (1, 2, 1))
    assert torch.equal(one["image"], again["image"])
    assert not torch.equal(one["image"], other["image"])
    assert not torch.equal(one["map"], other["map"])
    assert torch.equal(data.view(0, ["map"], 1)["map"], plain[0]["map"])  # without the picture: as latents
    assert Union(parts=(data, data)).drawn == data.drawn
    assert torch.equal(Union(parts=(data, data)).view(40, None, 1)["image"], one["image"])


def test_pictures_that_are_too_small_are_left_out_and_counted(folder: Path) -> None:
    Image.new("RGB", (20, 90)).save(folder / "07.png")
    data = ImageFolder(path=folder, size=16, smallest=30, max_broken=0)
    assert len(data) == 39
    assert not data.skipped
    assert data.notes == ["1 pictures left out whose shorter side is below 30 pixels"]
    with pytest.raises(UserError, match=r"0 of 40 pictures .* lower smallest"):
        ImageFolder(path=folder, size=16, smallest=100)


def test_digests_follow_the_crop_and_stay_what_they_were_without_one(folder: Path) -> None:
    data = ImageFolder(path=folder, size=16)
    digest = hashlib.sha256(json.dumps([16, "white", []]).encode())
    for line in (folder / "metadata.jsonl").read_text().splitlines():
        values = json.loads(line)
        name = values.pop("file_name")
        content = (folder / name).read_bytes()
        found = hashlib.sha256(str(len(content)).encode() + content).hexdigest()[:32]
        digest.update(json.dumps([name, found, values, []]).encode())
    assert data.digest == digest.hexdigest()
    others = [ImageFolder(path=folder, size=16, crop=crop) for crop in ("random", "pad")]
    assert len({d.digest for d in (data, *others)}) == 3
    tagged = ImageFolder(path=folder, size=16, shuffle_tags=True)
    assert tagged.digest != data.digest
    assert tagged.picture_digest == data.picture_digest != others[1].picture_digest


def system_of(folder: Path, shown: str, **changes: object) -> System:
    options = {"steps": 2, "batch": 4, "lr": 1e-3}
    recipe = {
        "recipe": 1,
        "name": "crops",
        "data": {"name": "image-folder", "path": str(folder), "size": 32, "crop": shown, "bucket_step": 8},
        "compression": {"name": "kl-autoencoder", "factor": 4, "channels": 3, "width": 32, "blocks": 1}
        | {"multipliers": [1, 1, 1]},
        "denoiser": UNET,
        "conditioners": {"map": {"name": "spatial-rescaler", "field": "map", "classes": 4, "channels": 2}},
        "train": {"compression": {**options, "loss": ["pixel"]}, "diffusion": {**options, **changes}},
    }
    registry = host().registry
    return assemble(resolve(load(recipe), registry), registry)


def test_the_rows_of_a_step_with_drawn_crops_do_not_depend_on_processes(folder: Path) -> None:
    system = system_of(folder, "random", crop="center")
    stage, again = (
        CompressionStage(system, system.recipe.train.compression, system.dataset()) for _ in range(2)
    )
    whole = stage.batch(5, slice(0, 4))[0]["image"]
    parts = [again.batch(5, slice(i, i + 2))[0]["image"] for i in (0, 2)]  # without the steps before it
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, stage.batch(15, slice(0, 4))[0]["image"])


def test_latents_of_drawn_crops_need_a_word(folder: Path, tmp_path: Path) -> None:
    system = system_of(folder, "random")
    with pytest.raises(UserError, match=r"another crop .* train\.diffusion\.crop: center"):
        look_at_data(system, system.dataset())
    system = system_of(folder, "random", crop="center")
    stage = DiffusionStage(system, system.recipe.train.diffusion, system.dataset(), tmp_path)
    plain = system_of(folder, "center")
    plain.load_state_dict(system.state_dict())
    other = DiffusionStage(plain, plain.recipe.train.diffusion, plain.dataset(), tmp_path / "2")
    found, expected = (s.batch(0, slice(0, 4))[0] for s in (stage, other))
    assert torch.equal(found["clean"], expected["clean"])


def test_batches_of_buckets_have_one_shape_and_reach_every_picture(folder: Path, tmp_path: Path) -> None:
    system = system_of(folder, "buckets")
    data = system.dataset()
    assert [len(bucket) for bucket in data.buckets] == [10, 20, 10]  # 32x34 goes to the square
    look_at_data(system, data)
    first = CompressionStage(system, system.recipe.train.compression, data)
    second = DiffusionStage(system, system.recipe.train.diffusion, data, tmp_path)
    shapes = set()
    for step in range(12):
        image = first.batch(step, slice(0, 4))[0]["image"]
        batch = second.batch(step, slice(0, 4))[0]
        shapes |= {tuple(image.shape[2:])}
        assert {tuple(x.shape[-2:]) for x in batch["conditions"].prepared["map"].values()} <= {
            tuple(batch["clean"].shape[-2:]),
            tuple(4 * side for side in batch["clean"].shape[-2:]),
        }
        second.learners[0].step(*second.batch(step, slice(0, 4)))[0]["loss"].backward()
    assert len(shapes) == 3
    assert second.validate(0, 1)["count"] == len(data.split("validation"))
    assert first.validate(0, 1)["count"] == len(data.split("validation"))
    first.complete()
    assert first.picture().width > 0
