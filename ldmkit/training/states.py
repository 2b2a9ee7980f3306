"""Frozen conditioners: each input of a training is encoded once, kept on disk, named by its content."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ldmkit.checkpoint import files
from ldmkit.checkpoint.sums import Sums
from ldmkit.engine.conditions import PARTS, concatenate
from ldmkit.interfaces import Conditioner
from ldmkit.training.data import alternatives
from ldmkit.types import Condition

BATCH = 64
HALF_ABOVE = 2**30
"""Bytes of encoded states from which on they are kept in float16."""
Inputs = Mapping[Hashable, tuple[Any, ...]]
"""The distinct inputs of a conditioner, a value a field, by `key_of` them."""


class States:
    """Encoded conditions of all inputs, looked up by content; the last row is the null condition."""

    def __init__(self, inputs: Inputs, condition: Condition) -> None:
        self._rows = {key: i for i, key in enumerate(inputs)}
        self._condition = condition

    def look_up(
        self, raw: Mapping[str, Sequence[Any]], fields: Sequence[str], drop: Bool[Tensor, " b"] | None
    ) -> Condition:
        """The condition of a batch of raw inputs; the null one where `drop`."""
        keys = zip(*(raw[f] for f in fields), strict=True)
        index = torch.tensor([self._rows[key_of(key)] for key in keys])
        if drop is not None:
            index = index.masked_fill(drop, len(self._rows))
        return self._condition.map(lambda x: x[index].float() if x.dtype == torch.float16 else x[index])


def key_of(values: Sequence[Any]) -> Hashable:
    """An input's content: texts and numbers as they are, id sequences as tuples."""
    return tuple(tuple(v.tolist()) if isinstance(v, Tensor) else v for v in values)


def cacheable(conditioner: nn.Module, example: Mapping[str, Any], fields: Sequence[str]) -> bool:
    """Has it weights, none of which train, and inputs that recur: texts, numbers, id sequences?"""
    parameters = list(conditioner.parameters())
    small = all(
        isinstance(v, str | int) or (isinstance(v, Tensor) and v.ndim <= 1)
        for f in fields
        for v in alternatives(example, f)
    )
    return bool(parameters) and small and not any(p.requires_grad for p in parameters)


def inputs_of(fields: Sequence[str], examples: Iterable[Mapping[str, Any]]) -> Inputs:
    """Every distinct input that training may draw from the examples."""
    inputs: dict[Hashable, tuple[Any, ...]] = {}
    for example in examples:
        offered = [[*alternatives(example, f), example[f]] for f in fields]
        inputs |= {key_of(values): values for values in product(*offered)}
    return inputs


def cached_states(
    conditioner: Conditioner, identity: str, inputs: Inputs, folder: Path, device: torch.device
) -> States | None:
    """The states of all inputs, from the folder or made now; None where the conditioner draws noise.

    identity: what determines the conditioner besides its weights: its place in the recipe.
    """
    conditioner.eval()  # type: ignore[attr-defined]
    weights = dict(conditioner.named_parameters()) | dict(conditioner.named_buffers())  # type: ignore[attr-defined]
    content = f"{identity} {files.tensors_digest(weights)} {list(inputs)}"
    path = folder / f"states-{hashlib.sha256(content.encode()).hexdigest()[:16]}.safetensors"
    sums = Sums(folder)
    if not (path.exists() and sums.whole(path)):
        condition = encode_all(conditioner, list(inputs.values()), device)
        if condition is None:
            return None
        parts = {part: getattr(condition, part) for part in PARTS}
        folder.mkdir(parents=True, exist_ok=True)
        files.write_tensors(path, {part: x for part, x in parts.items() if x is not None})
        sums.remember(path)
    return States(inputs, Condition(**files.read_tensors(path)))


def encode_all(conditioner: Conditioner, inputs: Sequence[Any], device: torch.device) -> Condition | None:
    """The condition of all inputs, one row each, and the null one; None where the conditioner draws noise."""
    made, null = [], None
    generator = torch.Generator(device).manual_seed(0)
    before = generator.get_state()
    for start in range(0, len(inputs), BATCH):
        condition = _encode(conditioner, inputs[start : start + BATCH], generator, device)
        if not torch.equal(before, generator.get_state()):
            return None
        half = _room(condition) * len(inputs) > HALF_ABOVE
        null = null or _stored(_null(conditioner, condition), half)
        made.append(_stored(condition, half))
    assert null is not None
    return _without_padding(concatenate([*made, null]))


@torch.no_grad()
def _encode(
    conditioner: Conditioner, inputs: Sequence[Any], generator: torch.Generator, device: torch.device
) -> Condition:
    columns = zip(*inputs, strict=True)
    raw = {f: _column(list(values)) for f, values in zip(conditioner.spec.fields, columns, strict=True)}
    prepared = conditioner.prepare(raw)
    return conditioner.encode({k: v.to(device) for k, v in prepared.items()}, generator)


@torch.no_grad()
def _null(conditioner: Conditioner, like: Condition) -> Condition:
    """The null condition, one row."""
    return conditioner.null(like.map(lambda x: x[:1])).map(lambda x: x[:1])


def _stored(condition: Condition, half: bool) -> Condition:
    return condition.map(lambda x: (x.half() if half and x.is_floating_point() else x).cpu())


def _column(values: list[Any]) -> Any:
    return torch.stack(values) if isinstance(values[0], Tensor) else values


def _room(condition: Condition) -> float:
    """Bytes of one input's condition."""
    parts = [x for x in (condition.tokens, condition.mask, condition.vector) if x is not None]
    return sum(x.nbytes / len(x) for x in parts)


def _without_padding(condition: Condition) -> Condition:
    """Without the token positions that count for no input at all."""
    if condition.mask is None or condition.tokens is None or not condition.mask.any():
        return condition
    length = int(condition.mask.any(0).nonzero().max()) + 1
    tokens, mask = condition.tokens[:, :length].clone(), condition.mask[:, :length].clone()
    return Condition(tokens, mask, condition.concat, condition.vector)
