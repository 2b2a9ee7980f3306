"""Rules between our tensors and published ones, read in both directions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldmkit import keymaps
from ldmkit.keymaps import Rule, check_entries

Q, K, V = (torch.arange(8.0).reshape(4, 2) + 10 * i for i in range(3))
IMAGE = torch.arange(36.0).reshape(2, 2, 3, 3)
RULES = {
    "one name": (Rule("w", ("a",)), torch.arange(6.0).reshape(2, 3), [torch.arange(6.0).reshape(2, 3)]),
    "rows after each other": (Rule("w", ("q", "k", "v")), torch.cat([Q, K, V]), [Q, K, V]),
    "rows by head": (
        Rule("w", ("q", "k"), interleave=2),
        torch.cat([Q[:2], K[:2], Q[2:], K[2:]]),
        [Q, K],
    ),
    "transposed": (Rule("w", ("a",), order=(1, 0)), Q.T.contiguous(), [Q]),
    "channels last": (Rule("w", ("a",), order=(0, 2, 3, 1)), IMAGE.permute(0, 2, 3, 1).contiguous(), [IMAGE]),
    "linear here, convolution there": (Rule("w", ("a",), axes=4), Q, [Q[:, :, None, None]]),
    "convolution here, linear there": (Rule("w", ("a",), axes=2), Q[:, :, None, None], [Q]),
}


def holding(tensor):
    module = nn.Module()
    module.w = nn.Parameter(torch.zeros_like(tensor))
    return module


@pytest.mark.parametrize("name", RULES)
def test_a_rule_holds_in_both_directions(name):
    rule, ours, published = RULES[name]
    module = holding(ours)
    loaded = keymaps.load([rule], dict(zip(rule.published, published, strict=True)), module)
    assert torch.equal(loaded["w"], ours)
    module.load_state_dict(loaded)
    saved = keymaps.save([rule], module)
    assert list(saved) == list(rule.published)
    assert all(torch.equal(saved[n], x) for n, x in zip(rule.published, published, strict=True))


def test_pointwise_weights_are_read_with_any_number_of_axes():
    module = holding(Q)
    for axes in (2, 3, 4):
        published = Q.reshape(4, 2, *[1] * (axes - 2))
        assert torch.equal(keymaps.load([Rule("w", ("a",))], {"a": published}, module)["w"], Q)


def test_saved_tensors_have_memory_of_their_own():
    module = holding(Q)
    saved = keymaps.save([Rule("w", ("a",))], module)
    module.w.data.fill_(7)
    assert not torch.equal(saved["a"], module.w)


def test_what_does_not_fit_is_named_in_few_words():
    module = holding(Q)
    for tensors, words in (
        ({}, "missing: a"),
        ({"a": Q, "b": Q}, "left over: b"),
        ({"a": Q.T}, r"wrong shape: a is \[2, 4\], not \[4, 2\]"),
        ({"a": Q.long()}, "not of floating point: a"),
    ):
        with pytest.raises(ValueError, match=words):
            keymaps.load([Rule("w", ("a",))], tensors, module)
    with pytest.raises(ValueError, match="and 9995 more") as caught:
        keymaps.load([Rule("w", ("a",))], {"a": Q} | {"long" * 99 + str(i): Q for i in range(10_000)}, module)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"width": 1, "hieght": 2}, "unknown key 'hieght'; did you mean 'height'?"),
        ({"width": 1, "act": "relu"}, "act: relu is not supported; only 'silu'"),
        ({"width": 1, "act": True}, "act: True is not supported"),
        ({}, "missing key 'width'"),
        ({"width": 1, **{f"key{i}": i for i in range(50)}}, "and 45 more"),
    ],
)
def test_a_configuration_is_read_strictly(config, words):
    check_entries(
        {"width": 1, "act": "silu", "note": "x"}, ["width"], fixed={"act": ["silu"]}, harmless=["note"]
    )
    with pytest.raises(ValueError, match=words.replace("?", r"\?")):
        check_entries(config, ["width", "height"], fixed={"act": ["silu", 1]}, required=["width"])
