"""The parts of an autoencoder in order, for key maps: each format has its own names for the same parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit.keymaps import Rule
from ldmkit_autoencoders.autoencoder import Autoencoder
from ldmkit_autoencoders.blocks import Attention, ResidualBlock

Sort = Literal["residual", "attention", "resample"]
SHARED_NAMES = {
    **{
        f"{side}.{conv}": f"{side}.{conv}"
        for side in ("encoder", "decoder")
        for conv in ("conv_in", "conv_out")
    },
    "to_moments": "quant_conv",
    "from_latent": "post_quant_conv",
    "regulariser.codebook": "quantize.embedding.weight",
}
"""Parts outside of blocks that both published formats name alike."""


@dataclass(frozen=True)
class PlacedBlock:
    """A block. `level` counts from the picture's resolution, None in the middle; `order` counts the decoder's
    levels as it runs through them; `index` counts the parts of that sort at that place."""

    path: str
    side: Literal["encoder", "decoder"]
    level: int | None
    order: int
    sort: Sort
    index: int


def placed_blocks(model: Autoencoder) -> Iterator[PlacedBlock]:
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
) -> Iterator[PlacedBlock]:
    seen: Counter[Sort] = Counter()
    for name, block in stack.named_children():
        residual: Sort = "residual" if isinstance(block, ResidualBlock) else "resample"
        sort: Sort = "attention" if isinstance(block, Attention) else residual
        yield PlacedBlock(f"{path}.{name}", side, level, order, sort, seen[sort])
        seen[sort] += 1


def rules(
    model: Autoencoder,
    block_name: Callable[[PlacedBlock], str],
    leaves: Mapping[Sort, Mapping[str, str]],
    singles: Mapping[str, str],
    linear: bool,
) -> list[Rule]:
    """Every parameter of the model under its published name.

    Buffers (scale, shift, a codebook's statistics) have none. `leaves` and `singles` rename a block's own
    parts and the parts outside of blocks. linear: attention's weights are published as linear layers'.
    """
    renamed, attention = dict(singles), set()
    for block in placed_blocks(model):
        for leaf, published in leaves[block.sort].items():
            renamed[f"{block.path}.{leaf}"] = f"{block_name(block)}.{published}"
            if block.sort == "attention":
                attention.add(f"{block.path}.{leaf}")
    result = []
    for ours, tensor in model.named_parameters():
        stem, _, kind = ours.rpartition(".")
        name = singles[ours] if ours in singles else f"{renamed[stem]}.{kind}"
        axes = 2 if linear and stem in attention and tensor.ndim > 1 else None
        result.append(Rule(ours, (name,), axes=axes))
    return result


def load(tensors: Mapping[str, Tensor], model: Autoencoder, named: list[Rule]) -> dict[str, Tensor]:
    """The model's state dict from published tensors. Buffers stay as they are, but a codebook's running
    statistics begin anew. ValueError names the keys left over, missing or of another shape."""
    state = model.state_dict() | keymaps.load(named, tensors, model)
    if "regulariser.sums" in state:
        state["regulariser.sums"] = state["regulariser.codebook"].clone()
        state["regulariser.counts"] = torch.ones_like(state["regulariser.counts"])
    return state
