"""The parts of an autoencoder in order, for key maps: each format has its own names for the same parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ldmkit_autoencoders.autoencoder import Autoencoder
from ldmkit_autoencoders.blocks import Attention, ResidualBlock

Sort = Literal["residual", "attention", "resample"]


@dataclass(frozen=True)
class Part:
    """A block. `level` counts from the picture's resolution, None in the middle; `order` counts the decoder's
    levels as it runs through them; `index` counts the parts of that sort at that place."""

    path: str
    side: Literal["encoder", "decoder"]
    level: int | None
    order: int
    sort: Sort
    index: int


def parts(model: Autoencoder) -> Iterator[Part]:
    """Every block of encoder and decoder."""
    last = len(model.encoder.levels) - 1
    for order in range(last + 1):
        yield from _blocks(model.encoder.levels[order], f"encoder.levels.{order}", "encoder", order, order)
        yield from _blocks(
            model.decoder.levels[order], f"decoder.levels.{order}", "decoder", last - order, order
        )
    yield from _blocks(model.encoder.middle, "encoder.middle", "encoder", None, 0)
    yield from _blocks(model.decoder.middle, "decoder.middle", "decoder", None, 0)


def _blocks(
    stack: nn.Module, path: str, side: Literal["encoder", "decoder"], level: int | None, order: int
) -> Iterator[Part]:
    seen: Counter[Sort] = Counter()
    for name, block in stack.named_children():
        residual: Sort = "residual" if isinstance(block, ResidualBlock) else "resample"
        sort: Sort = "attention" if isinstance(block, Attention) else residual
        yield Part(f"{path}.{name}", side, level, order, sort, seen[sort])
        seen[sort] += 1


def names(
    model: Autoencoder,
    block_name: Callable[[Part], str],
    leaves: Mapping[Sort, Mapping[str, str]],
    singles: Mapping[str, str],
) -> dict[str, str]:
    """Published name of each tensor of the model, by ours.

    Buffers (scale, shift, a codebook's statistics) have none. `leaves` and `singles` rename a block's own
    parts and the parts outside of blocks.
    """
    renamed = dict(singles)
    for part in parts(model):
        for leaf, published in leaves[part.sort].items():
            renamed[f"{part.path}.{leaf}"] = f"{block_name(part)}.{published}"
    found = {}
    for ours, _ in model.named_parameters():
        stem, _, kind = ours.rpartition(".")
        found[ours] = singles[ours] if ours in singles else f"{renamed[stem]}.{kind}"
    return found


def load(tensors: Mapping[str, Tensor], model: Autoencoder, named: Mapping[str, str]) -> dict[str, Tensor]:
    """The model's state dict from published tensors. Buffers stay as they are, but a codebook's running
    statistics begin anew. ValueError names every key left over, missing or of another shape."""
    state = model.state_dict()
    problems = _differences("missing", set(named.values()) - set(tensors))
    problems += _differences("left over", set(tensors) - set(named.values()))
    for ours, published in named.items():
        if published in tensors:
            problems += _unfit(published, tensors[published], state[ours])
    if problems:
        raise ValueError("; ".join(problems))
    state |= {ours: tensors[published].reshape(state[ours].shape) for ours, published in named.items()}
    if "regulariser.sums" in state:
        state["regulariser.sums"] = state["regulariser.codebook"].clone()
        state["regulariser.counts"] = torch.ones_like(state["regulariser.counts"])
    return state


def _differences(what: str, keys: set[str]) -> list[str]:
    return [f"{what}: {', '.join(sorted(keys))}"] if keys else []


def _unfit(name: str, given: Tensor, wanted: Tensor) -> list[str]:
    """1x1 convolutions and linear layers have the same weights in two shapes; all else must agree."""
    pointwise = sorted((tuple(given.shape), tuple(wanted.shape)))
    same = given.shape == wanted.shape or pointwise[1] == (*pointwise[0], 1, 1)
    if not same:
        return [f"{name} is {tuple(given.shape)}, not {tuple(wanted.shape)}"]
    return [] if given.is_floating_point() else [f"{name} is of type {given.dtype}, not floating point"]
