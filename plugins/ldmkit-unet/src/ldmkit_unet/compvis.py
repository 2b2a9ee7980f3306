"""The key map of the published single files: the `UNetModel` of the paper's implementation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit.keymaps import check_entries, refuse
from ldmkit_unet.entries import arguments, check_implied, cross_only, depth_of, in_channels, same
from ldmkit_unet.layout import HEAD_CHANNELS
from ldmkit_unet.naming import Format, as_unet
from ldmkit_unet.unet import UNet
from ldmkit_unet.unet_block import UNetBlock, unet_blocks

UNDERSTOOD = {
    "model_channels", "channel_mult", "num_res_blocks", "attention_resolutions", "num_heads",
    "num_head_channels", "num_heads_upsample", "use_spatial_transformer", "transformer_depth",
    "use_scale_shift_norm", "resblock_updown", "dropout", "use_checkpoint", "use_new_attention_order",
    "legacy", "num_classes", "disable_self_attentions",
}  # fmt: skip
HARMLESS = {
    "image_size", "use_fp16", "use_bf16", "in_channels", "out_channels", "context_dim",
    "use_linear_in_transformer", "adm_in_channels",
}  # fmt: skip
"""Of no effect on what is computed, or implied by the neighbours and checked with the tensors' shapes."""
FIXED: Mapping[str, list[Any]] = {
    "conv_resample": [True],
    "dims": [2],
    "n_embed": [None],
    "num_attention_blocks": [None],
    "disable_middle_self_attn": [False],
    "transformer_depth_middle": [None],
}
DEFAULTS = {
    "channel_mult": (1, 2, 4, 8), "num_heads": -1, "num_head_channels": -1, "num_heads_upsample": -1,
    "use_spatial_transformer": False, "transformer_depth": 1, "use_scale_shift_norm": False,
    "resblock_updown": False, "dropout": 0, "use_checkpoint": False, "use_new_attention_order": False,
    "legacy": True, "num_classes": None,
    "disable_self_attentions": None,
}  # fmt: skip
SEQUENTIAL = "sequential"
"""What stands for the number of classes where two layers embed a vector."""


def _places(unet: UNet) -> Iterator[tuple[str, UNetBlock, tuple[str, str, str]]]:
    for i, block in enumerate(unet_blocks(unet.down)):
        at = f"input_blocks.{i + 1}"
        yield f"down.{i}", block, (f"{at}.0", f"{at}.1", f"{at}.0")
    for i, block in enumerate(unet_blocks(unet.middle)):
        yield f"middle.{i}", block, (f"middle_block.{2 * i}", "middle_block.1", "")
    for i, block in enumerate(unet_blocks(unet.up)):
        at = f"output_blocks.{i}"
        yield f"up.{i}", block, (f"{at}.0", f"{at}.1", f"{at}.{1 if block.attention is None else 2}")


NAMES = Format(
    places=_places,
    outer={
        "time_embed.0": "time_embed.0",
        "time_embed.2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "norm_out": "out.0",
        "conv_out": "out.2",
    },
    residual={
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "skip": "skip_connection",
    },
    plain_norm="norm",
    plain_qkv=("qkv",),
    plain_out="proj_out",
    plain_axes=3,
    class_embedding="label_emb.weight",
    vector_mlp=("label_emb.0.0", "label_emb.0.2"),
    halving="op",
)


class CompVisUNet:
    """Key map `compvis/unet`: `unet_config.params` and the keys below `model.diffusion_model.`.

    `in_channels`, `out_channels`, `context_dim` and `num_classes` follow from the UNet's neighbours:
    `parameters` leaves them out, and `check_config` refuses other ones. `config` takes the
    constructor's arguments, those included that build supplies; it leaves out `image_size`, which is not the
    UNet's to know.
    """

    classes = ("ldm.modules.diffusionmodules.openaimodel.UNetModel",)

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters of the published configuration; ValueError names every entry it cannot hold."""
        required = ("model_channels", "num_res_blocks", "attention_resolutions")
        check_entries(config, UNDERSTOOD, fixed=FIXED, harmless=HARMLESS, required=required)
        settings = {**DEFAULTS, **config}
        values: dict[str, Any] = {
            "width": settings["model_channels"],
            "multipliers": list(settings["channel_mult"]),
            "blocks": same("num_res_blocks", settings["num_res_blocks"]),
            "attention": list(settings["attention_resolutions"]),
            **_heads(settings),
            "scale_shift": settings["use_scale_shift_norm"],
            "resample": "residual" if settings["resblock_updown"] else "conv",
            "dropout": float(settings["dropout"]),
            "checkpoint": settings["use_checkpoint"],
        }
        values |= {"vector": "mlp"} if settings["num_classes"] == SEQUENTIAL else {}
        if settings["use_spatial_transformer"]:
            levels = len(settings["channel_mult"])
            attended = [i for i in range(levels) if 2**i in settings["attention_resolutions"]]
            depth = depth_of("transformer_depth", settings["transformer_depth"], levels, attended)
            factors = cross_only("disable_self_attentions", settings["disable_self_attentions"], levels)
            return {**values, "depth": depth, **factors}
        return {**values, "head_order": "split" if settings["use_new_attention_order"] else "legacy"}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """`unet_config.params` of the constructor's arguments."""
        settings = arguments(parameters)
        conditions = settings["conditions"]
        values = {
            **{name: value for name, value in _implied(settings).items() if value},
            "model_channels": settings["width"],
            "attention_resolutions": list(settings["attention"]),
            "num_res_blocks": settings["blocks"],
            "channel_mult": list(settings["multipliers"]),
            "use_scale_shift_norm": settings["scale_shift"],
            "resblock_updown": settings["resample"] == "residual",
            "dropout": settings["dropout"],
            "use_checkpoint": settings["checkpoint"],
        }
        if settings["heads"]:
            values["num_heads"] = settings["heads"]
        else:
            values["num_head_channels"] = settings["head_channels"] or HEAD_CHANNELS
        return values | (_transformers(settings) if conditions.tokens else _plain_attention(settings))

    def check_config(self, config: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        """ValueError where `unet_config.params` promise other channels, or layers for tokens or classes that
        the UNet has not. `parameters` as for `config`."""
        check_implied(config, _implied(arguments(parameters)))

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Tensors without prefix as the UNet's state dict; ValueError names every key that does not fit."""
        return keymaps.load(NAMES.rules(as_unet(module)), tensors, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The UNet's tensors under published names, without prefix."""
        return keymaps.save(NAMES.rules(as_unet(module)), module)


def _implied(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that follow from the UNet's neighbours."""
    conditions = settings["conditions"]
    vector, two_layers = conditions.vector, settings["vector"] == "mlp"
    return {
        "in_channels": in_channels(settings["latent"], conditions),
        "out_channels": settings["out_channels"],
        "use_spatial_transformer": conditions.tokens > 0,
        "context_dim": conditions.tokens,
        "num_classes": SEQUENTIAL if vector and two_layers else vector,
        "adm_in_channels": vector if two_layers else 0,
    }


def _transformers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a UNet with cross-attention says of it."""
    depth = settings["depth"]
    cross = [2**i in settings["cross_only"] for i in range(len(settings["multipliers"]))]
    return {
        "transformer_depth": depth if isinstance(depth, int) else list(depth),
        **({"disable_self_attentions": cross} if any(cross) else {}),
        **({"use_linear_in_transformer": True} if _implied(settings)["adm_in_channels"] else {}),
    }


def _plain_attention(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"use_new_attention_order": settings["head_order"] == "split"}


def _heads(settings: Mapping[str, Any]) -> dict[str, Any]:
    """heads or head_channels: the published code lets the channels a head win where both are given."""
    count, channels = settings["num_heads"], settings["num_head_channels"]
    if channels == -1:
        if count == -1:
            refuse("num_heads and num_head_channels: neither is given")
        if (
            settings["num_heads_upsample"] not in (-1, None, count)
            and not settings["use_spatial_transformer"]
        ):
            refuse(
                f"num_heads_upsample: {settings['num_heads_upsample']} (the UNet has num_heads everywhere)"
            )
        return {"heads": count}
    widths = _attended(settings)
    if settings["use_spatial_transformer"] and settings["legacy"] and any(w % channels for w in widths):
        # "legacy": the number of heads is rounded down, and the heads then share the whole width.
        return {"heads": same("num_head_channels", [w // channels for w in widths])}
    return {"head_channels": channels}


def _attended(settings: Mapping[str, Any]) -> list[int]:
    """Channels of every level that has attention, the middle block's last."""
    widths = [m * settings["model_channels"] for m in settings["channel_mult"]]
    reached = [w for level, w in enumerate(widths) if 2**level in settings["attention_resolutions"]]
    return [*reached, widths[-1]]
