"""The two models of diffusers that a UNet corresponds to, and the entries of their `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNDERSTOOD = {
    "block_out_channels", "layers_per_block", "down_block_types", "up_block_types", "attention_head_dim",
    "num_attention_heads", "transformer_layers_per_block", "resnet_time_scale_shift", "downsample_type",
    "upsample_type", "dropout", "attn_norm_num_groups", "addition_embed_type",
    "only_cross_attention",
}  # fmt: skip
HARMLESS = {
    "_class_name", "_diffusers_version", "_name_or_path", "_use_default_values", "sample_size", "in_channels",
    "out_channels", "cross_attention_dim", "num_class_embeds", "upcast_attention", "use_linear_projection",
    "addition_embed_type_num_heads", "num_train_timesteps", "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
}  # fmt: skip
"""Of no effect on what is computed, or implied by the neighbours and checked with the tensors' shapes."""
FIXED: Mapping[str, list[Any]] = {
    "act_fn": ["silu", "swish"], "norm_num_groups": [32], "norm_eps": [1e-5], "flip_sin_to_cos": [True],
    "freq_shift": [0], "center_input_sample": [False], "downsample_padding": [1], "add_attention": [True],
    "mid_block_type": ["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"], "mid_block_scale_factor": [1, 1.0],
    "dual_cross_attention": [False],
    "mid_block_only_cross_attention": [None, False], "encoder_hid_dim": [None],
    "encoder_hid_dim_type": [None], "class_embed_type": [None],
    "class_embeddings_concat": [False], "reverse_transformer_layers_per_block": [None],
    "resnet_skip_time_act": [False], "resnet_out_scale_factor": [1, 1.0], "cross_attention_norm": [None],
    "time_embedding_type": ["positional"], "time_embedding_dim": [None], "time_embedding_act_fn": [None],
    "timestep_post_act": [None], "time_cond_proj_dim": [None], "conv_in_kernel": [3], "conv_out_kernel": [3],
    "attention_type": ["default"],
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """One of the two models: its name, how its block types name attention, its constructor's defaults."""

    name: str
    attends: str
    middle: str
    defaults: Mapping[str, Any]


CONDITIONAL = Family(
    "UNet2DConditionModel",
    "CrossAttn",
    "UNetMidBlock2DCrossAttn",
    {
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    },
)
UNCONDITIONAL = Family(
    "UNet2DModel",
    "Attn",
    "UNetMidBlock2D",
    {
        "block_out_channels": (224, 448, 672, 896),
        "down_block_types": ("DownBlock2D",) + ("AttnDownBlock2D",) * 3,
        "up_block_types": ("AttnUpBlock2D",) * 3 + ("UpBlock2D",),
    },
)
DEFAULTS: Mapping[str, Any] = {
    "layers_per_block": 2, "attention_head_dim": 8, "num_attention_heads": None, "dropout": 0.0,
    "transformer_layers_per_block": 1, "resnet_time_scale_shift": "default", "downsample_type": "conv",
    "upsample_type": "conv", "attn_norm_num_groups": None, "addition_embed_type": None,
    "only_cross_attention": False,
}  # fmt: skip


def family_of(config: Mapping[str, Any]) -> Family:
    """The model that a `config.json` names, or looks like where it names none; ValueError for another."""
    name = config.get("_class_name")
    if name is None:
        return CONDITIONAL if "cross_attention_dim" in config else UNCONDITIONAL
    for family in (CONDITIONAL, UNCONDITIONAL):
        if family.name == name:
            return family
    raise ValueError(f"_class_name '{name}' is no UNet of ours; known: UNet2DConditionModel, UNet2DModel")
