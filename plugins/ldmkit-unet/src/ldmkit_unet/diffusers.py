"""The key map of Hugging Face folders: `UNet2DConditionModel` (with tokens) and `UNet2DModel` (without)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit_unet.diffusers_reading import read
from ldmkit_unet.diffusers_writing import implied, write
from ldmkit_unet.entries import arguments, check_implied
from ldmkit_unet.naming import Format, as_unet
from ldmkit_unet.unet import UNet
from ldmkit_unet.unet_block import UNetBlock, unet_blocks

OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of plain attention's layers in folders written by early versions."""
OLD_NAME = re.compile(rf"(attentions\.\d+)\.({'|'.join(OLD_NAMES)})\.(weight|bias)")


def _places(unet: UNet) -> Iterator[tuple[str, UNetBlock, tuple[str, str, str]]]:
    per_level = unet.blocks + 1  # on the way down: its blocks, then the halving
    for i, block in enumerate(unet_blocks(unet.down)):
        yield f"down.{i}", block, _within("down", *divmod(i, per_level))
    for i, block in enumerate(unet_blocks(unet.middle)):
        yield f"middle.{i}", block, (f"mid_block.resnets.{i}", "mid_block.attentions.0", "")
    for i, block in enumerate(unet_blocks(unet.up)):
        yield f"up.{i}", block, _within("up", *divmod(i, per_level))


def _within(way: str, level: int, i: int) -> tuple[str, str, str]:
    at = f"{way}_blocks.{level}"
    return f"{at}.resnets.{i}", f"{at}.attentions.{i}", f"{at}.{way}samplers.0"


NAMES = Format(
    places=_places,
    outer={
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "conv_in": "conv_in",
        "norm_out": "conv_norm_out",
        "conv_out": "conv_out",
    },
    residual={
        "norm1": "norm1",
        "conv1": "conv1",
        "time": "time_emb_proj",
        "norm2": "norm2",
        "conv2": "conv2",
        "skip": "conv_shortcut",
    },
    plain_norm="group_norm",
    plain_qkv=("to_q", "to_k", "to_v"),
    plain_out="to_out.0",
    plain_axes=2,
    class_embedding="class_embedding.weight",
    vector_mlp=("add_embedding.linear_1", "add_embedding.linear_2"),
    halving="conv",
)


class DiffusersUNet:
    """Key map `diffusers/unet`: the folder's `config.json` and its tensors.

    `attention_head_dim` is the number of heads in the conditional model and the channels of one head in the
    unconditional one. `in_channels`, `out_channels`, `cross_attention_dim` and `num_class_embeds` follow from
    the UNet's neighbours: `parameters` leaves them out, and `check_config` refuses other ones. `config`
    takes the constructor's arguments, those included that build supplies; it leaves out `sample_size`.
    """

    classes = ("UNet2DConditionModel", "UNet2DModel")

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters of a `config.json`; ValueError names every entry that cannot be held."""
        return read(config)

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The `config.json` of the constructor's arguments; ValueError where no model there can be it."""
        return write(arguments(parameters))

    def check_config(self, config: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        """ValueError where a `config.json` promises other channels, or layers for tokens, classes or sizes
        that the UNet has not. `parameters` as for `config`."""
        check_implied(config, implied(arguments(parameters)))

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Tensors as the UNet's state dict; ValueError names every key that does not fit."""
        renamed = {OLD_NAME.sub(_new_name, name): tensor for name, tensor in tensors.items()}
        return keymaps.load(NAMES.rules(as_unet(module)), renamed, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The UNet's tensors under published names."""
        return keymaps.save(NAMES.rules(as_unet(module)), module)


def _new_name(match: re.Match[str]) -> str:
    return f"{match[1]}.{OLD_NAMES[match[2]]}.{match[3]}"
