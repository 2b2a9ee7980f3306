"""`config.json` of `UNet2DConditionModel` and `UNet2DModel`, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldmkit.keymaps import check_entries, refuse
from ldmkit_unet.diffusers_families import (
    DEFAULTS,
    FIXED,
    HARMLESS,
    UNCONDITIONAL,
    UNDERSTOOD,
    Family,
    family_of,
)
from ldmkit_unet.entries import cross_only, depth_of, same

ADDED = (None, "text_time")


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe parameters of a `config.json`."""
    family = family_of(config)
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
    name, levels = "transformer_layers_per_block", len(settings["block_out_channels"])
    depth = depth_of(name, settings[name], levels, attended)
    factors = cross_only("only_cross_attention", settings["only_cross_attention"], levels)
    return {**values, **_vector(settings), **factors, "depth": depth}


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
