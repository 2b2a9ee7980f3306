"""The contract of a conditioner passes an honest one and names what a broken one breaks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ldmkit.testing.conditioner import check_conditioner
from ldmkit.types import Condition, ConditionSpec

RAW = {"size": [1.0, 2.0, 5.0]}


class Honest(nn.Module):
    """Numbers as one token and a vector."""

    spec = ConditionSpec(fields=("size",), tokens=4, vector=4)

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 4)

    def prepare(self, raw):
        if "size" not in raw:
            raise ValueError("size: missing; expects numbers")
        return {"size": torch.as_tensor(raw["size"])}

    def encode(self, prepared, generator=None):
        x = self.linear(prepared["size"][:, None])
        return Condition(tokens=x[:, None], mask=torch.ones(len(x), 1, dtype=torch.bool), vector=x)

    def null(self, like):
        zeros = like.map(torch.zeros_like)
        return Condition(zeros.tokens, like.mask, zeros.concat, zeros.vector)


def test_an_honest_conditioner_passes():
    check_conditioner(Honest(), RAW)


def with_encode(change):
    """A conditioner whose condition is changed afterwards."""

    class Broken(Honest):
        def encode(self, prepared, generator=None):
            return change(super().encode(prepared, generator))

    return Broken()


class NamesNoField(Honest):
    def prepare(self, raw):
        try:
            return super().prepare(raw)
        except ValueError:
            raise ValueError("something is missing") from None


class RefusesPrepared(Honest):
    def prepare(self, raw):
        return {"size": super().prepare(raw)["size"] + 1}


class NullOfOne(Honest):
    def null(self, like):
        return super().null(like).map(lambda x: x[:1])


class NullWithoutMask(Honest):
    def null(self, like):
        null = super().null(like)
        return Condition(null.tokens, None, null.concat, null.vector)


@pytest.mark.parametrize(
    ("conditioner", "message"),
    [
        (
            with_encode(lambda c: Condition(vector=c.vector)),
            "tokens: the spec says 4, the condition has none",
        ),
        (with_encode(lambda c: Condition(c.tokens[..., :3], vector=c.vector)), "tokens: 3 pictures of 4"),
        (with_encode(lambda c: c.map(lambda x: x / 0 if x.is_floating_point() else x)), "tokens: not finite"),
        (with_encode(lambda c: Condition(c.tokens, c.mask & False, vector=c.vector)), "without any token"),
        (with_encode(lambda c: Condition(c.tokens, c.mask.float(), vector=c.vector)), "mask: bool"),
        (
            with_encode(lambda c: Condition(c.tokens - c.tokens.mean(0), vector=c.vector)),
            "differs from the batch",
        ),
        (with_encode(lambda c: Condition(c.tokens + torch.rand(()), vector=c.vector)), "same generator"),
        (NamesNoField(), "names it"),
        (RefusesPrepared(), "prepared tensors are returned unchanged"),
        (NullOfOne(), "tokens: 3 pictures of 4"),
        (NullWithoutMask(), "null: mask is none"),
    ],
)
def test_a_broken_promise_is_named(conditioner, message):
    with pytest.raises(AssertionError, match=message):
        check_conditioner(conditioner, RAW)
