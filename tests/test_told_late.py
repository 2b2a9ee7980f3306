"""What only shows in the midst of a training ends it in one line, and what was trained until then is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_toy import Pictures, toy

from ldmkit.errors import UserError
from ldmkit.training import look, train_stage
from ldmkit.training.draws import Order

STEPS = ["train.compression.steps=8", "train.compression.checkpoint_every=1000"]
SOUND = Pictures.__getitem__
SEED = toy().recipe.train.compression.seed
FOURTH = Order(18, SEED, "compression").take(12, 16).tolist()
"""The pictures of the train split that the fourth step reads; their indices are the same."""
BAD = FOURTH[0]


def odd(self, index):
    """One of the pictures has another size."""
    example = SOUND(self, index)
    return {**example, "image": example["image"][:, :8, :8]} if self._rows[index] == BAD else example


def failing(self, index):
    if self._rows[index] == BAD:
        raise RuntimeError("the disk is gone")
    return SOUND(self, index)


def train(runs: Path, *overrides: str) -> list[str]:
    said: list[str] = []
    train_stage(toy(*STEPS, *overrides), "compression", runs, say=said.append)
    return said


def tensors(runs: Path) -> dict[str, torch.Tensor]:
    return load_file(next(runs.glob("toy/compression-*/compression.safetensors")))


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        (odd, UserError, f"example {BAD}: a picture of 8x8, while example 0 is 16x16"),
        (failing, RuntimeError, "the disk is gone"),
    ],
)
def test_a_bad_example_beyond_those_that_were_looked_at_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong, error, told: str
) -> None:
    monkeypatch.setattr(look, "LOOKED", 2)
    train(tmp_path / "sound")
    monkeypatch.setattr(Pictures, "__getitem__", wrong)
    with pytest.raises(error, match=told):
        train(tmp_path / "bad")
    (folder,) = (tmp_path / "bad").glob("toy/compression-*/")
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000003"]
    monkeypatch.setattr(Pictures, "__getitem__", SOUND)
    assert "compression: going on after step 3" in train(tmp_path / "bad")
    mended, sound = tensors(tmp_path / "bad"), tensors(tmp_path / "sound")
    assert all(torch.equal(mended[name], x) for name, x in sound.items())


def test_a_bad_example_in_a_later_pass_of_a_step_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass may have changed what a module remembers of its batches."""
    monkeypatch.setattr(look, "LOOKED", 2)
    monkeypatch.setattr(Pictures, "__getitem__", failing)
    half = ["train.compression.accumulate=2", "train.compression.checkpoint_every=2"]
    monkeypatch.setitem(globals(), "BAD", FOURTH[3])
    with pytest.raises(RuntimeError, match="the disk is gone"):
        train(tmp_path, *half)
    (folder,) = tmp_path.glob("toy/compression-*/")
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000002"]
