"""Pictures of several sizes are refused before a training, not in the batch in which they first meet."""

from __future__ import annotations

import pytest
import torch
import training_toy
from training_toy import train

from ldmkit.errors import UserError


class Uneven(training_toy.Pictures):
    """Pictures of which one, of the training, is higher than the others."""

    def __getitem__(self, index):
        example = super().__getitem__(index)
        odd = index == 17 and len(self) > 17
        return example | {"image": torch.nn.functional.pad(example["image"], (0, 0, 0, 4 * odd))}

    def split(self, name):
        part = super().split(name)
        part.__class__ = type(self)
        return part


@pytest.mark.parametrize("stage", ["compression", "diffusion"])
def test_pictures_of_several_sizes_are_refused_before_the_first_step(stage, monkeypatch, tmp_path):
    monkeypatch.setattr(training_toy, "Pictures", Uneven)
    said = []
    with pytest.raises(UserError, match="example 17: a picture of 20x16, while example 0 is 16x16"):
        train(tmp_path, stages=(stage,), say=said.append)
    assert not [line for line in said if "step" in line]
    assert not list(tmp_path.glob("toy/*/step-*"))


def test_a_bucket_whose_pictures_differ_is_refused(monkeypatch, tmp_path):
    odd = property(lambda self: [[i for i in range(len(self)) if i not in (16, 17)], [16, 17]])
    monkeypatch.setattr(Uneven, "buckets", odd, raising=False)
    monkeypatch.setattr(training_toy, "Pictures", Uneven)
    with pytest.raises(UserError, match="example 17: a picture of 20x16, while example 16"):
        train(tmp_path, stages=("compression",))
