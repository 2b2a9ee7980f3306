"""`config.json` of `UNet2DConditionModel` and `UNet2DModel`, written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.keymaps import refuse
from ldmkit_unet.diffusers_families import CONDITIONAL, UNCONDITIONAL, Family
from ldmkit_unet.entries import in_channels, same
from ldmkit_unet.layout import HEAD_CHANNELS


def write(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `config.json` of the constructor's arguments."""
    conditions, multipliers = values["conditions"], values["multipliers"]
    family = CONDITIONAL if conditions.tokens else UNCONDITIONAL
    widths = [values["width"] * m for m in multipliers]
    attended = [level for level in range(len(widths)) if 2**level in values["attention"]]
    sizes = implied(values)["addition_embed_type"] is not None
    refuse(
        f"multipliers: {list(multipliers)} (the first must be 1)" if multipliers[0] != 1 else "",
        "vector: 'mlp' (the format has it beside cross-attention only)"
        if sizes and family is UNCONDITIONAL
        else "",
    )
    return {
        "_class_name": family.name,
        **{name: value for name, value in implied(values).items() if value},
        "block_out_channels": widths,
        "layers_per_block": values["blocks"],
        "mid_block_type": family.middle,
        "attention_head_dim": _head_dim(values, family, widths, attended),
        "resnet_time_scale_shift": "scale_shift" if values["scale_shift"] else "default",
        "dropout": values["dropout"],
        **({"use_linear_projection": True} if sizes else {}),
        **_block_types(values, family, attended),
        **(_conditional(values) if conditions.tokens else _unconditional(values)),
    }


def implied(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that follow from the UNet's neighbours."""
    conditions, two_layers = values["conditions"], values["vector"] == "mlp"
    vector = conditions.vector
    return {
        "in_channels": in_channels(values["latent"], conditions),
        "out_channels": values["out_channels"],
        "cross_attention_dim": conditions.tokens,
        "num_class_embeds": 0 if two_layers else vector,
        "addition_embed_type": "text_time" if vector and two_layers else None,
        "projection_class_embeddings_input_dim": vector if two_layers else 0,
    }


def _head_dim(
    settings: Mapping[str, Any], family: Family, widths: list[int], attended: list[int]
) -> int | list[int]:
    heads, channels = settings["heads"], settings["head_channels"] or HEAD_CHANNELS
    if family is CONDITIONAL:
        return heads or [max(1, width // channels) for width in widths]
    if not heads:
        return int(channels)
    return same("heads", [widths[i] // heads for i in [*attended, -1]])


def _block_types(settings: Mapping[str, Any], family: Family, attended: list[int]) -> dict[str, Any]:
    residual = settings["resample"] == "residual"
    if residual and family is CONDITIONAL and attended:
        refuse("resample: 'residual' (the format has no such blocks with cross-attention)")
    levels = range(len(settings["multipliers"]))
    down = "ResnetDownsampleBlock2D" if residual else "DownBlock2D"
    up = "ResnetUpsampleBlock2D" if residual else "UpBlock2D"
    return {
        "down_block_types": [f"{family.attends}DownBlock2D" if i in attended else down for i in levels],
        "up_block_types": [f"{family.attends}UpBlock2D" if i in attended else up for i in reversed(levels)],
    }


def _conditional(settings: Mapping[str, Any]) -> dict[str, Any]:
    depth, levels = settings["depth"], range(len(settings["multipliers"]))
    cross = [2**level in settings["cross_only"] for level in levels]
    return {
        "only_cross_attention": cross if any(cross) else False,
        "transformer_layers_per_block": depth if isinstance(depth, int) else list(depth),
    }


def _unconditional(settings: Mapping[str, Any]) -> dict[str, Any]:
    kind = "resnet" if settings["resample"] == "residual" else "conv"
    return {"downsample_type": kind, "upsample_type": kind, "attn_norm_num_groups": 32}
