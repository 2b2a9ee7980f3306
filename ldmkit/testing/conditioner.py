"""The contract of a conditioner: call `check_conditioner` from a test of yours."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.interfaces import Conditioner
from ldmkit.types import Condition, ConditionSpec, Prepared

PARTS = tuple(f.name for f in fields(Condition))
TOLERANCE = 1e-5
"""By how much a picture's condition may move with its batch, relative to its largest entry."""


HALF = 0.1
"""By how much half precision may move a condition, relative to its norm."""


def check_conditioner(conditioner: Conditioner, raw: Mapping[str, Any]) -> None:
    """Checks a conditioner as a whole: its inputs, conditions, null condition, half precision and state dict.

    raw: inputs by field, as a person would give them, for two or more pictures that differ.

    Raises AssertionError naming the promise of `Conditioner` that is broken.
    """
    assert isinstance(conditioner, nn.Module), "a conditioner is an nn.Module"
    conditioner.eval()
    with torch.no_grad():
        prepared = check_prepare(conditioner, raw)
        condition = check_encode(conditioner, prepared)
        check_null(conditioner, condition)
        check_independence(conditioner, prepared, condition)
        check_half(conditioner, prepared, condition)
    check_unread(conditioner, raw)
    check_state(conditioner)


def check_prepare(conditioner: Conditioner, raw: Mapping[str, Any]) -> Prepared:
    """Checks that raw inputs become tensors with the batch first, that prepared tensors are returned
    unchanged, and that a missing field is refused."""
    assert isinstance(conditioner.spec, ConditionSpec), "spec: a ConditionSpec"
    assert conditioner.spec.fields, "spec.fields: names at least one batch field"
    prepared = conditioner.prepare(raw)
    sizes = {name: x.shape[0] for name, x in prepared.items() if isinstance(x, Tensor)}
    assert sizes.keys() == prepared.keys(), "prepare: returns tensors by name"
    assert len(set(sizes.values())) == 1, f"prepare: batch first in every tensor, not {sizes}"
    again = conditioner.prepare(prepared)
    assert again.keys() == prepared.keys(), "prepare: prepared tensors are returned unchanged"
    for name, x in prepared.items():
        assert torch.equal(again[name], x), (
            f"prepare: prepared tensors are returned unchanged; {name} did not"
        )
    for field in conditioner.spec.fields:
        _check_refusal(conditioner, {k: v for k, v in raw.items() if k != field}, field)
    return prepared


def check_encode(conditioner: Conditioner, prepared: Prepared) -> Condition:
    """The condition of prepared inputs, after a check that it has the parts and widths that `spec` announces
    and is the same for the same generator."""
    condition = conditioner.encode(prepared, _generator())
    check_shapes(conditioner.spec, condition, next(iter(prepared.values())).shape[0])
    again = conditioner.encode(prepared, _generator())
    for name in PARTS:
        first, second = getattr(condition, name), getattr(again, name)
        assert first is None or torch.equal(first, second), f"encode: {name} differs with the same generator"
    return condition


def check_shapes(spec: ConditionSpec, condition: Condition, n: int) -> None:
    """Checks that a condition of n pictures has the parts that `spec` announces, and no others."""
    for name, dimensions in (("tokens", 3), ("concat", 4), ("vector", 2)):
        width, x = getattr(spec, name), getattr(condition, name)
        assert (x is not None) == bool(width), f"{name}: the spec says {width}, the condition has {_shape(x)}"
        if x is not None:
            channels = x.shape[-1] if name == "tokens" else x.shape[1]
            assert x.ndim == dimensions, f"{name}: {dimensions} dimensions, not {_shape(x)}"
            assert (x.shape[0], channels) == (n, width), f"{name}: {n} pictures of {width}, not {_shape(x)}"
            assert torch.isfinite(x).all(), f"{name}: not finite"
    if condition.mask is not None:
        assert condition.tokens is not None, "mask: without tokens"
        assert condition.mask.shape == condition.tokens.shape[:2], (
            f"mask: 'b l', not {_shape(condition.mask)}"
        )
        assert condition.mask.dtype == torch.bool, "mask: bool, True where a token counts"
        assert condition.mask.any(1).all(), "mask: a picture without any token that counts"


def check_null(conditioner: Conditioner, condition: Condition) -> None:
    """Checks that the null condition has the shapes of the given one, for a single picture too."""
    for like in (condition, condition.map(lambda x: x[:1])):
        null = conditioner.null(like)
        held = next(x for x in (like.tokens, like.concat, like.vector) if x is not None)
        check_shapes(conditioner.spec, null, held.shape[0])
        for name in PARTS:
            x, expected = getattr(null, name), getattr(like, name)
            assert (x is None) == (expected is None), (
                f"null: {name} is {_shape(x)}, the condition has {_shape(expected)}"
            )
            assert x is None or x.shape == expected.shape, (
                f"null: {name} is {_shape(x)}, not {_shape(expected)}"
            )


def check_independence(conditioner: Conditioner, prepared: Prepared, condition: Condition) -> None:
    """Checks that the condition of a picture does not depend on the others in its batch."""
    for i in range(next(iter(prepared.values())).shape[0]):
        alone = conditioner.encode({name: x[i : i + 1] for name, x in prepared.items()}, _generator())
        for name in PARTS:
            x, batched = getattr(alone, name), getattr(condition, name)
            if x is not None:
                _check_near(x.float(), batched[i : i + 1].float(), f"encode: {name} of picture {i} alone")


def check_half(conditioner: nn.Module, prepared: Prepared, condition: Condition) -> None:
    """Checks that in bfloat16 and float16 the condition is that of float32, as far as the type holds it."""
    for kind in (torch.bfloat16, torch.float16):
        half: Any = copy.deepcopy(conditioner).to(kind)
        half_inputs = {n: x.to(kind) if x.is_floating_point() else x for n, x in prepared.items()}
        encoded = half.encode(half_inputs, _generator())
        half.null(encoded)
        for part in PARTS:
            own, other = getattr(condition, part), getattr(encoded, part)
            if own is not None and own.is_floating_point():
                distance = float((other.float() - own).norm() / own.norm().clamp(min=1e-6))
                assert distance < HALF, f"half precision: {part} moves by {distance:.1e} in {kind}"


def check_unread(conditioner: Conditioner, raw: Mapping[str, Any]) -> None:
    """Where there is the optional method `unread`, it gives a list of lines."""
    lines: Any = getattr(conditioner, "unread", lambda _: [])(raw)
    assert isinstance(lines, list), f"unread: returns a list of lines, not {type(lines).__name__}"
    assert all(isinstance(line, str) for line in lines), "unread: each line is a text"


def check_state(conditioner: nn.Module) -> None:
    """Checks that the state dict can be loaded again as a whole."""
    conditioner.load_state_dict(conditioner.state_dict(), strict=True)


def _check_refusal(conditioner: Conditioner, raw: Mapping[str, Any], field: str) -> None:
    refusal = ""
    try:
        conditioner.prepare(raw)
    except ValueError as error:
        refusal = str(error)
    assert refusal, f"prepare: accepts a batch without {field}"
    assert field in refusal, f"prepare: the error for a missing field names it ({field}): {refusal}"


def _check_near(x: Tensor, other: Tensor, what: str) -> None:
    worst = float((x - other).abs().max()) if x.numel() else 0.0
    scale = float(other.abs().max()) if other.numel() else 0.0
    assert worst <= TOLERANCE * max(scale, 1.0), f"{what} differs from the batch by {worst:.2g}"


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _shape(x: Tensor | None) -> str:
    return "none" if x is None else str(tuple(x.shape))
