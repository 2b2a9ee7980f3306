"""Conditions between the conditioners and the denoiser: merging, batching, dropping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import torch
from jaxtyping import Bool
from torch import Tensor

from ldmkit.errors import UserError
from ldmkit.types import Condition, Conditions, ConditionSpec

PARTS = tuple(f.name for f in fields(Condition))


def merged_spec(specs: Mapping[str, ConditionSpec]) -> ConditionSpec:
    """The spec of the merged condition of all conditioners.

    Raises UserError where two of them make tokens of different widths: they share one cross-attention.
    """
    widths = {name: spec.tokens for name, spec in specs.items() if spec.tokens}
    if len(set(widths.values())) > 1:
        sizes = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"conditioners: token widths differ ({sizes}); set them to one width")
    return ConditionSpec(
        fields=tuple(dict.fromkeys(f for spec in specs.values() for f in spec.fields)),
        tokens=max(widths.values(), default=0),
        concat=sum(spec.concat for spec in specs.values()),
        vector=sum(spec.vector for spec in specs.values()),
    )


def merge(conditions: Conditions) -> Condition:
    """One condition for the denoiser, in the given order: tokens along l, concat and vectors on channels."""
    tokens, mask = _join_tokens(list(conditions.values()))
    concat = [c.concat for c in conditions.values() if c.concat is not None]
    vector = [c.vector for c in conditions.values() if c.vector is not None]
    return Condition(tokens, mask, _cat(concat), _cat(vector))


def _cat(tensors: Sequence[Tensor]) -> Tensor | None:
    if len(tensors) < 2:
        return tensors[0] if tensors else None
    return torch.cat(list(tensors), dim=1)


def _join_tokens(conditions: Sequence[Condition]) -> tuple[Tensor | None, Tensor | None]:
    """Tokens one after another; a mask as soon as one of them has one."""
    held = [c for c in conditions if c.tokens is not None]
    masked = any(c.mask is not None for c in held)
    return _cat([_tokens(c) for c in held]), _cat([_mask(c) for c in held]) if masked else None


def _tokens(condition: Condition) -> Tensor:
    assert condition.tokens is not None
    return condition.tokens


def _mask(condition: Condition) -> Tensor:
    if condition.mask is not None:
        return condition.mask
    tokens = _tokens(condition)
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def concatenate(conditions: Sequence[Condition]) -> Condition:
    """Conditions one after another along the batch; shorter token sequences are padded and masked."""
    if len(conditions) == 1:
        return conditions[0]
    lengths = {c.tokens.shape[1] for c in conditions if c.tokens is not None}
    if len(lengths) > 1 or len({c.mask is None for c in conditions}) > 1:
        conditions = [padded(c, max(lengths)) for c in conditions]
    columns = {part: [getattr(c, part) for c in conditions] for part in PARTS}
    return Condition(**{part: None if held[0] is None else torch.cat(held) for part, held in columns.items()})


def padded(condition: Condition, length: int) -> Condition:
    """The condition padded to `length` tokens; padding is masked."""
    tokens, mask = _tokens(condition), _mask(condition)
    missing = length - tokens.shape[1]
    return Condition(
        torch.nn.functional.pad(tokens, (0, 0, 0, missing)),
        torch.nn.functional.pad(mask, (0, missing), value=False),
        condition.concat,
        condition.vector,
    )


def replaced(condition: Condition, null: Condition, drop: Bool[Tensor, " b"]) -> Condition:
    """The condition with those pictures where `drop` is True taken from `null`."""

    def choose(own: Tensor | None, other: Tensor | None) -> Tensor | None:
        if own is None or other is None:
            return own
        return torch.where(drop.reshape(-1, *[1] * (own.ndim - 1)), other.to(own.dtype), own)

    if (condition.mask is None) != (null.mask is None):
        condition, null = (padded(c, _tokens(c).shape[1]) for c in (condition, null))
    return Condition(*(choose(getattr(condition, part), getattr(null, part)) for part in PARTS))


def zeros(spec: ConditionSpec, count: int, size: Sequence[int] | None, device: torch.device) -> Condition:
    """A condition of the shape that `spec` says, of one token and a map of latent (h, w), all zeros."""

    def tensor(*shape: int) -> Tensor:
        return torch.zeros(count, *shape, device=device)

    return Condition(
        tokens=tensor(1, spec.tokens) if spec.tokens else None,
        concat=tensor(spec.concat, *(size or ())) if spec.concat else None,
        vector=tensor(spec.vector) if spec.vector else None,
    )


def count_of(conditions: Iterable[Condition]) -> int | None:
    """How many pictures the conditions are for; None where there are none to count."""
    for condition in conditions:
        for part in PARTS:
            if getattr(condition, part) is not None:
                return int(getattr(condition, part).shape[0])
    return None
