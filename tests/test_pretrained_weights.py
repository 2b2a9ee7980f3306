"""Weights that no stage holds, of pretrained encoders: what was made with others is not taken for theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import small_recipes
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_pipelines import text_encoder

import ldmkit
from ldmkit.checkpoint.files import tensors_digest
from ldmkit.checkpoint.sums import Sums, sha256
from ldmkit.cli import main
from ldmkit.engine import plans, pretrained
from ldmkit.pictures.png import read_about, save_picture


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of a text encoder that the recipe `words` reads captions with."""
    monkeypatch.chdir(tmp_path)
    for name, part in text_encoder().items():
        part.save_pretrained(tmp_path / "encoder" / name)
    Path("pictures").mkdir()
    draws = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(draws.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(f"pictures/{i}.png")
        Path(f"pictures/{i}.txt").write_text("a fox")
    recipe = {
        **small_recipes.PIXELS,
        "name": "words",
        "data": {"name": "image-folder", "path": "pictures", "size": 16},
        "denoiser": {**small_recipes.UNET, "attention": [1]},
        "conditioners": {"caption": {"name": "pretrained-text", "path": "encoder"}},
        "train": {"diffusion": {"steps": 2, "batch": 2, "lr": 1e-3}},
        "sampler": {"name": "ddim", "steps": 2},
        "sample": {"prompts": ["a fox"]},
    }
    Path("words.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path / "encoder/text_encoder/model.safetensors"


def stir(path: Path) -> None:
    tensors = load_file(path)
    save_file({n: x + torch.randn_like(x) if x.is_floating_point() else x for n, x in tensors.items()}, path)


def test_a_training_with_another_encoder_is_not_reused(encoder: Path) -> None:
    assert call("run", "words.yaml", "-o", "out").exit_code == 0
    (made,) = Path("out").glob("0*.png")
    stir(encoder)
    for verb in ("run", "sample"):
        result = call(verb, "words.yaml", "-o", "out")
        assert result.exit_code == 2
        assert "with other pretrained weights of conditioners.caption than" in result.output.splitlines()[-1]
    accepted = call("run", "words.yaml", "-o", "out", "--accept-changed-data")
    assert "samples: 0 reused, 1 to make" in accepted.output
    origin = next(Path("runs/words").glob("diffusion-*/made_from.json"))
    origin.write_text(json.dumps({**json.loads(origin.read_text()), "encoders": {}}))  # of an earlier version
    assert call("run", "words.yaml", "-o", "out").exit_code == 0
    old = read_about(made)
    save_picture(Image.open(made), made, {**old, "frozen": "0" * 64})
    again = call("sample", "words.yaml", "--again", str(made), "-o", "again")
    assert again.exit_code == 2
    assert "was made with other weights of a pretrained encoder" in again.output
    save_picture(Image.open(made), made, {key: x for key, x in old.items() if key != "frozen"})
    assert "samples: 1 reused" in call("run", "words.yaml", "-o", "out").output


def test_a_resume_with_another_encoder_stops(encoder: Path) -> None:
    call("run", "words.yaml", "-o", "out")
    next(Path("runs/words").glob("diffusion-*/diffusion.safetensors")).unlink()
    stir(encoder)
    result = call("train", "words.yaml")
    assert result.exit_code == 2
    assert "with other pretrained weights of conditioners.caption" in result.output


def test_they_are_told_apart_by_their_numbers(encoder: Path) -> None:
    def digests() -> tuple[dict[str, str], str | None]:
        system = ldmkit.build("words.yaml")
        return pretrained.encoders(system), pretrained.digest(system, plans.plan(system))

    before = digests()
    assert before == digests()
    stir(encoder)
    after = digests()
    assert list(after[0]) == ["caption"]
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_a_run_reads_an_encoder_once(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, read, summed = sha256(encoder), list[Path](), list[frozenset[str]]()

    def reading(path: Path) -> str:
        read.append(path)
        return sha256(path)

    def summing(tensors: Mapping[str, torch.Tensor]) -> str:
        summed.append(frozenset(tensors))
        return tensors_digest(tensors)

    monkeypatch.setattr("ldmkit.checkpoint.sums.sha256", reading)
    monkeypatch.setattr("ldmkit.engine.pretrained.tensors_digest", summing)
    named = ["-s", f"conditioners.caption.sha256={recorded}"]
    assert call("run", "words.yaml", *named, "-o", "out").exit_code == 0
    assert read.count(encoder) == 1
    assert len(summed) == 1


def test_weights_that_changed_in_memory_are_summed_again() -> None:
    encoder = torch.nn.Linear(2, 2).requires_grad_(False)
    tensors = pretrained.tensors_of(encoder)
    before = pretrained.digest_once(encoder, tensors)
    encoder.weight.add_(1)
    after = pretrained.digest_once(encoder, tensors)
    assert (before, after) == (before, tensors_digest(tensors))
    assert before != after


def replace_keeping_size_and_time(path: Path, content: bytes) -> None:
    status = path.stat()
    assert len(content) <= status.st_size
    path.write_bytes(content.ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def test_a_file_of_the_same_size_and_time_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"before")
    sums = Sums(tmp_path / "run")
    assert sums.of(file) == sha256(file)
    replace_keeping_size_and_time(file, b"after!")
    assert sums.of(file) == sha256(file)
