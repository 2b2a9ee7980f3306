"""open_clip's names of a CLIP text encoder's tensors, and transformers' names of the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ldmkit.keymaps import refuse, some

BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
LAYERS = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
"""open_clip's layers of a block, as transformers calls them."""
OUTER = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
UNREAD = {"text_projection", "logit_scale", "attn_mask"}
"""open_clip's tensors that token states do not pass."""


def as_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """open_clip's text tower under the names of transformers' CLIPTextModel; ValueError names the tensors
    that are no part of it."""
    own = {name.removeprefix("model."): x for name, x in tensors.items()}
    read = {name: x for name, x in own.items() if name not in UNREAD and not name.startswith("visual.")}
    strange = [name for name in read if name not in OUTER and not BLOCK.match(name)]
    refuse(f"left over: {some(strange)}" if strange else "")
    return {ours: x for name, tensor in read.items() for ours, x in _renamed(name, tensor)}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse, with a block of zeros behind the last: the published class reads the states before it."""
    own = {name.removeprefix("text_model."): x for name, x in state.items()}
    last = max(int(name.split(".")[2]) for name in own if name.startswith("encoder.layers."))
    tensors = {f"model.{theirs}": own[ours] for theirs, ours in OUTER.items()}
    for layer in range(last + 1):
        tensors |= _block(own, f"encoder.layers.{layer}.", f"model.transformer.resblocks.{layer}.")
    before, spare = (f"model.transformer.resblocks.{i}." for i in (last, last + 1))
    zeros = {
        n.replace(before, spare): torch.zeros_like(x) for n, x in tensors.items() if n.startswith(before)
    }
    return tensors | zeros


def _renamed(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors that one of open_clip's is there: three of attention's joint matrix."""
    match = BLOCK.match(name)
    if match is None:
        yield f"text_model.{OUTER[name]}", tensor
        return
    layer = f"text_model.encoder.layers.{match[1]}"
    stem, _, kind = match[2].rpartition(".")
    if match[2] in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = match[2].rpartition("_")[2]
        for x, part in zip("qkv", tensor.chunk(3), strict=True):
            yield f"{layer}.self_attn.{x}_proj.{kind}", part.clone()
        return
    refuse(f"left over: {match[2]}" if stem not in LAYERS else "")
    yield f"{layer}.{LAYERS[stem]}.{kind}", tensor


def _block(own: Mapping[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    """A block's tensors under open_clip's names; `ours` and `theirs` are its prefixes."""
    tensors = {}
    for kind in ("weight", "bias"):
        joint = [own[f"{ours}self_attn.{x}_proj.{kind}"] for x in "qkv"]
        tensors[f"{theirs}attn.in_proj_{kind}"] = torch.cat(joint)
        tensors |= {f"{theirs}{name}.{kind}": own[f"{ours}{layer}.{kind}"] for name, layer in LAYERS.items()}
    return tensors
