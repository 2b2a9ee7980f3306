"""`config.json` of `UNet2DConditionModel` and `UNet2DModel`, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldmkit.keymaps import check_entries, refuse
from ldmkit_unet.entries import in_channels, same
from ldmkit_unet.unet import UNet

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
ADDED = (None, "text_time")


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe parameters of a `config.json`."""
    family = _family(config)
    check_entries(config, UNDERSTOOD, fixed=FIXED, harmless=HARMLESS)
    settings = {**DEFAULTS, **family.defaults, **config}
    width, multipliers = _multipliers(settings["block_out_channels"])
    attended = _attended(settings, family)
    values: dict[str, Any] = {
        "width": width,
        "multipliers": multipliers,
        "blocks": same("layers_per_block", settings["layers_per_block"]),
        "attention": [2**level for level in attended],
        **_heads(settings, family, attended),
        "scale_shift": _scale_shift(settings, family),
        "resample": _resample(settings, family),
        "dropout": float(settings["dropout"]),
    }
    if family is UNCONDITIONAL:
        return {**values, "head_order": "split"}
    return {**values, **_vector(settings), **_cross_only(settings), "depth": _depth(settings, attended)}


def write(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `config.json` of the constructor's arguments."""
    conditions, multipliers = values["conditions"], values["multipliers"]
    family = CONDITIONAL if conditions.tokens else UNCONDITIONAL
    widths = [values["width"] * m for m in multipliers]
    attended = [level for level in range(len(widths)) if 2**level in values["attention"]]
    refuse(f"multipliers: {list(multipliers)} (the first must be 1)" if multipliers[0] != 1 else "")
    return {
        "_class_name": family.name,
        "in_channels": in_channels(values["latent"], conditions),
        "out_channels": values["out_channels"],
        "block_out_channels": widths,
        "layers_per_block": values["blocks"],
        "mid_block_type": family.middle,
        "attention_head_dim": _head_dim(values, family, widths, attended),
        "resnet_time_scale_shift": "scale_shift" if values["scale_shift"] else "default",
        "dropout": values["dropout"],
        **_embedded(values, family),
        **_block_types(values, family, attended),
        **(_conditional(values) if conditions.tokens else _unconditional(values)),
    }


def _family(config: Mapping[str, Any]) -> Family:
    name = config.get("_class_name")
    if name is None:
        return CONDITIONAL if "cross_attention_dim" in config else UNCONDITIONAL
    for family in (CONDITIONAL, UNCONDITIONAL):
        if family.name == name:
            return family
    raise ValueError(f"_class_name '{name}' is no UNet of ours; known: UNet2DConditionModel, UNet2DModel")


def _multipliers(widths: Sequence[int]) -> tuple[int, list[int]]:
    if any(w % widths[0] for w in widths):
        refuse(f"block_out_channels: {list(widths)} (the UNet has multiples of the first)")
    return widths[0], [w // widths[0] for w in widths]


def _attended(settings: Mapping[str, Any], family: Family) -> list[int]:
    """Levels with attention; ValueError where a block type is unknown or the two ways differ."""
    plain = {"DownBlock2D", "ResnetDownsampleBlock2D", "UpBlock2D", "ResnetUpsampleBlock2D"}
    known = plain | {f"{family.attends}DownBlock2D", f"{family.attends}UpBlock2D"}
    down, up = list(settings["down_block_types"]), list(reversed(settings["up_block_types"]))
    problems = [f"block type {name!r} (unknown)" for name in [*down, *up] if name not in known]
    levels = [[i for i, name in enumerate(names) if name not in plain] for names in (down, up)]
    if levels[0] != levels[1]:
        problems.append("down_block_types and up_block_types have attention at different levels")
    refuse(*problems)
    return levels[0]


def _depth(settings: Mapping[str, Any], attended: list[int]) -> Any:
    """One figure where all levels that attend have the same (the last one's is the middle's), else one a
    level."""
    value, levels = settings["transformer_layers_per_block"], len(settings["block_out_channels"])
    if not isinstance(value, Sequence):
        return value
    refuse(f"transformer_layers_per_block: {value!r} for {levels} levels" if len(value) != levels else "")
    return value[-1] if len({value[i] for i in [*attended, -1]}) == 1 else list(value)


def _cross_only(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The factors without self-attention."""
    flags, levels = settings["only_cross_attention"], len(settings["block_out_channels"])
    if flags is False:
        return {}
    if not isinstance(flags, Sequence) or len(flags) != levels or not all(type(x) is bool for x in flags):
        refuse(f"only_cross_attention: {flags!r} (the UNet has a list of true and false, one a level)")
    return {"cross_only": [2**i for i, flag in enumerate(flags) if flag]}


def _vector(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How pooled text and sizes join the time embedding; ValueError for other kinds of addition."""
    kind = settings["addition_embed_type"]
    refuse(f"addition_embed_type: {kind!r} is not supported; only 'text_time'" if kind not in ADDED else "")
    return {"vector": "mlp"} if kind else {}


def _heads(settings: Mapping[str, Any], family: Family, attended: list[int]) -> dict[str, Any]:
    """The trap: a number of heads in the conditional model, channels of one head in the other."""
    value = settings["attention_head_dim"]
    if family is UNCONDITIONAL:
        return {"heads": 1} if value is None else {"head_channels": value}
    value = settings["num_attention_heads"] or value
    if not isinstance(value, Sequence):
        return {"heads": value}
    levels = [*attended, -1]
    if len({value[i] for i in levels}) == 1:
        return {"heads": value[-1]}
    widths = settings["block_out_channels"]
    return {"head_channels": same("attention_head_dim", [widths[i] // value[i] for i in levels])}


def _scale_shift(settings: Mapping[str, Any], family: Family) -> bool:
    kind, groups = settings["resnet_time_scale_shift"], settings["attn_norm_num_groups"]
    if kind not in ("default", "scale_shift"):
        refuse(f"resnet_time_scale_shift: {kind!r} (the UNet has 'default' and 'scale_shift')")
    implied = 32 if kind == "default" else None  # the middle attention has no norm under scale_shift
    if family is UNCONDITIONAL and (groups or implied) != 32:
        refuse(f"attn_norm_num_groups: {groups!r} (the UNet has 32 in the middle block)")
    return bool(kind == "scale_shift")


def _resample(settings: Mapping[str, Any], family: Family) -> str:
    """How maps are halved and doubled: the block types say it, for plain attention an entry of its own."""
    names = [*list(settings["down_block_types"])[:-1], *list(settings["up_block_types"])[:-1]]
    kinds = set()
    for name in names:
        if family is UNCONDITIONAL and name.startswith("Attn"):
            kinds.add(settings["downsample_type" if "Down" in name else "upsample_type"])
        else:
            kinds.add("resnet" if name.startswith("Resnet") else "conv")
    if not kinds <= {"conv", "resnet"} or len(kinds) > 1:
        refuse(f"resampling: {', '.join(sorted(map(str, kinds)))} (the UNet has one kind, conv or resnet)")
    return "residual" if kinds == {"resnet"} else "conv"


def _head_dim(settings: Mapping[str, Any], family: Family, widths: list[int], attended: list[int]) -> Any:
    heads, channels = settings["heads"], settings["head_channels"] or UNet.HEAD_CHANNELS
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
        "cross_attention_dim": settings["conditions"].tokens,
        "transformer_layers_per_block": depth if isinstance(depth, int) else list(depth),
    }


def _embedded(settings: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """How the vector joins the time embedding. Sizes' own width is the pipeline's to add."""
    vector = settings["conditions"].vector
    if settings["vector"] != "mlp" or not vector:
        return {"num_class_embeds": vector or None}
    refuse("vector: 'mlp' (the format has it beside cross-attention only)" if family is UNCONDITIONAL else "")
    added = {"addition_embed_type": "text_time", "projection_class_embeddings_input_dim": vector}
    return {**added, "use_linear_projection": True}


def _unconditional(settings: Mapping[str, Any]) -> dict[str, Any]:
    kind = "resnet" if settings["resample"] == "residual" else "conv"
    return {"downsample_type": kind, "upsample_type": kind, "attn_norm_num_groups": 32}
