"""Distillation: the diffusion stage learns from the model that it starts from."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_resume import finished, run
from training_toy import train

from ldmkit.errors import UserError


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The runs folder of a finished toy."""
    train(tmp_path / "first")
    return tmp_path / "first" / "toy"


def test_kills_leave_no_trace(tmp_path: Path, trained: Path) -> None:
    codes, said = run(
        tmp_path, [signal.SIGKILL] * 4, f"weights={trained}", "train.diffusion.distillation=toy"
    )
    assert codes[0] == codes[-1] == 0, said
    assert -signal.SIGKILL in codes, said
    whole, broken = finished(tmp_path / "whole"), finished(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert [name for name in whole if whole[name] != broken[name]] == []


def test_the_student_starts_from_the_teacher_and_leaves_it(tmp_path: Path, trained: Path) -> None:
    lines: list[str] = []
    system = train(
        tmp_path / "second",
        f"weights={trained}",
        "train.compression.lr=1e-12",
        "train.diffusion={steps: 12, batch: 4, lr: 1e-3, distillation: toy, ema: null}",
        say=lines.append,
    )
    assert any(line.startswith(f"diffusion: starts from {trained}") for line in lines)
    (teacher,) = trained.glob("diffusion-*/diffusion.safetensors")
    before, after = load_file(teacher), system.state_dict()
    moved = {name: float((after[name] - x).abs().max()) for name, x in before.items()}
    assert 0 < max(moved.values()) < 0.1, "it has learned, from where the teacher is"
    (file,) = (tmp_path / "second").glob("toy/diffusion-*/diffusion.safetensors")
    assert load_file(file).keys() == before.keys(), "the teacher is no part of the output"


def test_without_weights_there_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"distillation \(toy\) needs a teacher: name .* in `weights`"):
        train(tmp_path, "train.diffusion.distillation=toy")


def test_an_adapter_learns_from_the_model_without_it(tmp_path: Path) -> None:
    training = "{steps: 12, batch: 4, lr: 0.1, distillation: {name: toy, scale: 3.0}}"
    system = train(tmp_path, f"adapters={{style: {{name: toy, train: {training}}}}}")
    assert float(system.adapters["style"].state()["shift"].abs().max()) > 0
    (file,) = tmp_path.glob("toy/diffusion-*/diffusion.safetensors")
    weights = load_file(file)
    own = dict(system.named_parameters())
    assert torch.equal(own["denoiser.time.weight"], weights["denoiser.time.weight"])
