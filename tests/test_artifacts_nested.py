"""Files of weights whose state dict lies deeper, as programs that train leave them."""

from __future__ import annotations

import pytest
import torch

from ldmkit.artifacts import read_tensors
from ldmkit.errors import Note, UserError

A = torch.arange(6.0).reshape(2, 3)
OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": A}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"model": {"state_dict": {"a": A}, "epoch": 3}, "optimizer": OPTIMIZER}, "model.state_dict"),
        ({"state_dict": {"module": {"a": A}}, "ema": {"a": 2 * A}}, "module"),
        ({"module": {"a": A}, "optimizer": OPTIMIZER, "dp_world_size": 2}, "module"),
        ({"net": {"ema": {}, "model": {"module.a": A}}, "args": {"lr": 0.1}}, "net.model"),
    ],
)
def test_the_only_state_dict_one_level_deeper_is_read_and_told(tmp_path, content, place):
    torch.save(content, tmp_path / "m.pt")
    with pytest.warns(Note, match=rf"the state dict under '{place}' is read"):
        read = read_tensors(tmp_path / "m.pt")
    assert read.keys() == {"a"}
    assert torch.equal(read["a"], A)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"model": {"raw": {"a": A}, "ema": {"a": A}}}, r"holds several, model\.raw, model\.ema: save one"),
        ({"state_dict": {"raw": {"a": A}, "ema": {"a": A}}}, r"holds several, raw, ema: save one"),
        ({"state_dict": [1], "ema": {"a": A}}, r"holds no state dict of tensors$"),
        ({"a": {"b": {"c": {"a": A}}}}, r"holds no state dict of tensors$"),
    ],
)
def test_which_of_several_is_meant_is_not_guessed(tmp_path, content, told):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(UserError, match=told):
        read_tensors(tmp_path / "m.pt")
