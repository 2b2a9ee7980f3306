"""Cached outputs of frozen conditioners in shards; file names hash weights and inputs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ldmkit.checkpoint import files
from ldmkit.engine.conditions import PARTS, concatenate, padded
from ldmkit.engine.pretrained import digest_once, tensors_of
from ldmkit.errors import UserError
from ldmkit.interfaces import Conditioner
from ldmkit.training.collectives import place, sum_over_processes
from ldmkit.training.data import Examples, alternatives
from ldmkit.training.distinct_inputs import DistinctInputs, hash_of
from ldmkit.training.shards import Shards, is_intact, write
from ldmkit.types import Condition, Say

BATCH = 64
HALF_ABOVE = 2**30
"""Bytes of encoded states from which on they are kept in float16."""
INDEX = "index.safetensors"
"""The file with a hash of every input, in the order of the rows, and the null condition."""


class States:
    """Encoded conditions of all inputs, looked up by content; they stay on the disk."""

    def __init__(self, shards: Shards, hashes: Int64[np.ndarray, " n"], null: Condition) -> None:
        self._shards, self._order = shards, np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]
        there = shards.names() | {part for part in PARTS if getattr(null, part) is not None}
        self._parts = [part for part in PARTS if part in there]
        tokens = null.tokens
        self._length = 0 if tokens is None else max(shards.length("tokens"), tokens.shape[1])
        self._null = [None if x is None else x[0] for x in (getattr(null, part) for part in self._parts)]

    def look_up(
        self, raw: Mapping[str, Sequence[Any]], fields: Sequence[str], drop: Bool[Tensor, " b"] | None
    ) -> Condition:
        """The condition of a batch of raw inputs; the null one where `drop`."""
        keys = np.array([hash_of(key) for key in zip(*(raw[f] for f in fields), strict=True)])
        places = np.searchsorted(self._sorted, keys).clip(max=len(self._sorted) - 1)
        if not np.array_equal(self._sorted[places], keys):
            raise UserError(
                f"{', '.join(fields)}: a value that was not there when all were encoded: the data set gives "
                "another one for the same example each time; it must name what it draws in `drawn`"
            )
        positions = self._order[places].tolist()
        dropped = [False] * len(positions) if drop is None else drop.tolist()
        rows = self._shards.rows(positions, [self._parts] * len(positions))
        chosen = [self._null if null else row for row, null in zip(rows, dropped, strict=True)]
        conditions = [
            Condition(**{p: x if x is None else x[None] for p, x in zip(self._parts, row, strict=True)})
            for row in chosen
        ]
        joined = concatenate(conditions)
        if joined.tokens is not None and joined.tokens.shape[1] < self._length:
            joined = padded(joined, self._length)
        return joined.map(lambda x: x.float() if x.dtype == torch.float16 else x)


def cacheable(conditioner: Conditioner, example: Mapping[str, Any], fields: Sequence[str]) -> bool:
    """Whether its outputs are cached: it has weights, all frozen, and inputs that recur (texts, numbers,
    ids), whatever is mirrored."""
    parameters = list(conditioner.parameters())
    small = all(
        isinstance(v, str | int) or (isinstance(v, Tensor) and v.ndim <= 1)
        for f in fields
        for v in alternatives(example, f)
    )
    still = all(conditioner.spec.kinds.get(f, "other") in ("text", "label", "other") for f in fields)
    return bool(parameters) and small and still and not any(p.requires_grad for p in parameters)


def cached_states(
    conditioner: Conditioner,
    identity: str,
    examples: Examples,
    folder: Path,
    device: torch.device,
    say: Say = lambda _: None,
) -> States | None:
    """The states of all inputs of a split, from the folder or made now, by all processes together; None where
    the conditioner draws noise.

    identity: what determines the conditioner besides its weights: its place in the recipe.
    """
    conditioner.eval()
    weights = digest_once(conditioner, tensors_of(conditioner))
    content = f"{identity} {weights} {conditioner.spec.fields} {examples.digest}"
    place_of_all = folder / f"states-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if not _everywhere(is_intact(place_of_all / INDEX)):
        inputs = DistinctInputs(examples, conditioner.spec.fields)
        encoding = _Encoding(conditioner, inputs, device)
        if encoding.noisy:
            return None
        _fill(place_of_all, inputs, encoding, say)
    index = files.read_safetensors(place_of_all / INDEX)
    hashes = index.pop("hashes").numpy()
    shards = Shards(place_of_all, len(hashes))
    shards.check("states")
    return States(shards, hashes, Condition(**index))


def _fill(folder: Path, inputs: DistinctInputs, encoding: _Encoding, say: Say) -> None:
    """Writes the states of all inputs, by all processes together, and the index last."""
    Shards(folder, len(inputs)).fill("states", encoding, say)
    if place()[0] == 0:
        write(folder / INDEX, {"hashes": torch.from_numpy(inputs.hashes), **_tensors(encoding.null)})
    sum_over_processes([0.0])


def measured(conditioner: Conditioner, examples: Examples, device: torch.device) -> tuple[int, float, float]:
    """Inputs of a split, the bytes that their states take, and the seconds of encoding them, by one batch."""
    inputs = DistinctInputs(examples, conditioner.spec.fields)
    conditioner.eval()
    first = range(min(BATCH, len(inputs)))
    began = time.perf_counter()
    condition = _encode(conditioner, inputs.take(first), torch.Generator(device), device)
    seconds = (time.perf_counter() - began) * len(inputs) / len(first)
    return len(inputs), _room(condition) * len(inputs), seconds


def _everywhere(there: bool) -> bool:
    """Whether something is true on every process."""
    return sum_over_processes([0.0 if there else 1.0])[0] == 0


class _Encoding:
    """The conditions of some inputs, as they are stored; `noisy` where encoding draws at random."""

    def __init__(self, conditioner: Conditioner, inputs: DistinctInputs, device: torch.device) -> None:
        self._conditioner, self._inputs, self._device = conditioner, inputs, device
        generator = torch.Generator(device).manual_seed(0)
        before = generator.get_state()
        first = range(min(BATCH, len(inputs)))
        self._first = _encode(conditioner, inputs.take(first), generator, device)
        self.noisy = not torch.equal(before, generator.get_state())
        self._half = _room(self._first) * len(inputs) > HALF_ABOVE
        self.null = _stored(_without_padding(_null(conditioner, self._first)), self._half)

    def __call__(self, rows: range) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        starts = range(rows.start, rows.stop, BATCH)
        parts = [self._batch(range(start, min(start + BATCH, rows.stop))) for start in starts]
        return _tensors(_without_padding(concatenate(parts))), {}

    def _batch(self, rows: range) -> Condition:
        if rows.start == 0 and self._first is not None:
            return _stored(self._first, self._half)
        generator = torch.Generator(self._device).manual_seed(0)
        inputs = self._inputs.take(rows)
        return _stored(_encode(self._conditioner, inputs, generator, self._device), self._half)


def _tensors(condition: Condition) -> dict[str, Tensor]:
    parts = {part: getattr(condition, part) for part in PARTS}
    return {part: x for part, x in parts.items() if x is not None}


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
