"""What a stage learns with: averaged weights, learning rates of parts, what an optimizer does not read."""

from __future__ import annotations

import pytest
import torch
from test_training import SHORT, weights_of
from torch import nn

from ldmkit.errors import UserError
from ldmkit.recipe import TrainingSettings
from ldmkit.training.ema import Average
from ldmkit.training.optim import groups_of, rate


def test_the_average_starts_at_two_elevenths():
    weight = nn.Parameter(torch.zeros(3))
    average = Average({"w": weight}, 0.5)
    weight.data.fill_(11.0)
    average.update(1)
    assert average.state()["w"].tolist() == pytest.approx([9.0] * 3)
    average.update(100)
    assert average.state()["w"].tolist() == pytest.approx([10.0] * 3)
    with average.applied():
        assert weight.tolist() == pytest.approx([10.0] * 3)
    assert weight.tolist() == [11.0] * 3


def test_the_learning_rate_warms_up_and_decays():
    options = TrainingSettings(steps=10, batch=1, lr=1.0, warmup=4, decay="linear")
    assert [rate(options, i) for i in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rate(options, 9) == pytest.approx(1 / 6)
    cosine = TrainingSettings(steps=10, batch=1, lr=2.0, decay="cosine")
    assert rate(cosine, 5) == pytest.approx(1.0)


def test_factors_of_the_learning_rate_go_by_the_longest_name_of_a_part():
    options = TrainingSettings(steps=1, batch=1, lr=0.5, lr_factors={"a": 0.1, "a.b": 2.0})
    named = {name: nn.Parameter(torch.zeros(1)) for name in ("a.w", "a.b.w", "a.bc.w", "b.w")}
    groups = groups_of(named, options)
    factors = {name: group["factor"] for group in groups for name, _ in group["params"]}
    assert factors == {"a.w": 0.1, "a.b.w": 2.0, "a.bc.w": 0.1, "b.w": 1.0}


def test_a_part_without_learning_rate_stays_and_an_unknown_part_is_refused(tmp_path):
    still = weights_of(tmp_path, *SHORT, "train.diffusion.lr_factors={conditioners.text: 0.0}")
    usual = weights_of(tmp_path, *SHORT)
    start = weights_of(tmp_path, *SHORT, "train.diffusion.lr=1e-30", "train.diffusion.weight_decay=0")
    name = "conditioners.text.table.weight"
    assert torch.equal(still[name], start[name])
    assert not torch.equal(usual[name], start[name])
    assert not torch.equal(still["denoiser.out.weight"], start["denoiser.out.weight"])
    with pytest.raises(UserError, match=r"no trained weights in 'denoise'; did you mean 'denoiser'\?"):
        weights_of(tmp_path, "train.diffusion.lr_factors={denoise: 0.0}")


def test_what_an_optimizer_does_not_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"optimizer \(toy\): it has no weight_decay"):
        weights_of(tmp_path, "train.diffusion.optimizer=toy")
