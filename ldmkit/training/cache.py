"""What is computed once: latent moments on disk, the states of frozen conditioners in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ldmkit.checkpoint import files
from ldmkit.conditions import concatenate
from ldmkit.interfaces import CompressionModel, Conditioner, Dataset
from ldmkit.training.data import Examples, alternatives, images_of
from ldmkit.types import Condition, Latent, Posterior

BATCH = 64
HALF_ABOVE = 2**30
"""Bytes of cached states from which on they are kept in float16."""


@dataclass(frozen=True)
class Latents:
    """Posterior moments of every example of a split: mode and std, and those of the mirrored pictures."""

    moments: Mapping[str, Tensor]

    def posterior(self, indices: Sequence[int], flip: Bool[Tensor, " b"] | None) -> Posterior:
        """The posteriors of some examples, mirrored where `flip`."""
        mode, std = self._take("mode", indices, flip), self._take("std", indices, flip)
        assert mode is not None
        return Posterior(mode, std, torch.zeros(len(mode)))

    def _take(self, part: str, indices: Sequence[int], flip: Bool[Tensor, " b"] | None) -> Latent | None:
        if part not in self.moments:
            return None
        rows = self.moments[part][indices]
        if flip is None:
            return rows
        return torch.where(flip.view(-1, 1, 1, 1), self.moments[f"{part}_flipped"][indices], rows)

    @property
    def size(self) -> tuple[int, int]:
        """The latents' (h, w)."""
        height, width = self.moments["mode"].shape[2:]
        return height, width


def cached_latents(
    compression: CompressionModel, dataset: Dataset, folder: Path, flip: bool, writes: bool
) -> Latents:
    """The split's latents, from the folder or made now; `writes`: may this process write the file?

    The file's name says what it holds: data, compression weights, mirrored or not.
    """
    weights = files.tensors_digest(compression.state_dict())  # type: ignore[attr-defined]
    key = hashlib.sha256(f"{dataset.digest} {weights} {flip}".encode()).hexdigest()
    path = folder / f"latents-{key[:16]}.safetensors"
    if not path.exists():
        moments = latent_moments(compression, Examples(dataset, memory=0), flip)
        if not writes:
            return Latents(moments)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_tensors(path, moments)
    return Latents(files.read_tensors(path))


@torch.no_grad()
def latent_moments(compression: CompressionModel, examples: Examples, flip: bool) -> dict[str, Tensor]:
    """mode and std of all examples, and mode_flipped and std_flipped where asked for."""
    found: dict[str, list[Tensor]] = {}
    for batch in examples.batches(BATCH):
        image = images_of(batch).to(compression.scale.device)
        for suffix, picture in [("", image), *([("_flipped", image.flip(-1))] if flip else [])]:
            posterior = compression.posterior(picture)
            found.setdefault(f"mode{suffix}", []).append(posterior.mode.cpu())
            if posterior.std is not None:
                found.setdefault(f"std{suffix}", []).append(posterior.std.cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


class States:
    """The encoded states of a frozen conditioner for every input of a training, looked up by content.

    The last row is the null condition.
    """

    def __init__(self, rows: Mapping[Hashable, int], condition: Condition) -> None:
        self._rows, self._condition = rows, condition

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


def encode_states(
    conditioner: Conditioner, examples: Iterable[Mapping[str, Any]], device: torch.device
) -> States | None:
    """Encodes each distinct input once; None where the conditioner draws noise, and must run afresh."""
    conditioner.eval()  # type: ignore[attr-defined]
    fields = conditioner.spec.fields
    rows: dict[Hashable, tuple[Any, ...]] = {}
    for example in examples:
        offered = [[*alternatives(example, f), example[f]] for f in fields]
        rows |= {key_of(values): values for values in product(*offered)}
    inputs, made, null = list(rows.values()), [], None
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
    return States({key: i for i, key in enumerate(rows)}, _without_padding(concatenate([*made, null])))


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
