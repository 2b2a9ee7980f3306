"""Hugging Face folders: configuration and key names of diffusers' AutoencoderKL and VQModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit_autoencoders.autoencoder import MULTIPLIERS, Autoencoder
from ldmkit_autoencoders.blocks_in_order import SHARED_NAMES, PlacedBlock, Sort, load, placed_blocks, rules
from ldmkit_autoencoders.folding import fold
from ldmkit_autoencoders.kl import KLAutoencoder
from ldmkit_autoencoders.published import PublishedConfig, complete, read, topology_of
from ldmkit_autoencoders.vq import VQ_MULTIPLIERS, VQAutoencoder

Count = Annotated[int, Field(gt=0, strict=True)]
Down = Literal["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]
Up = Literal["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]

SINGLES = {
    **SHARED_NAMES,
    "encoder.norm_out": "encoder.conv_norm_out",
    "decoder.norm_out": "decoder.conv_norm_out",
}
RESIDUAL = {n: n for n in ("norm1", "conv1", "norm2", "conv2")} | {"shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
LEAVES: Mapping[Sort, Mapping[str, str]] = {
    "residual": RESIDUAL,
    "attention": ATTENTION,
    "resample": {"conv": "conv"},
}
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of attention's layers before diffusers 0.17, still on hubs."""


class Model(PublishedConfig):
    """What both classes' config.json share; defaults are diffusers'.

    What only pipelines use (sample_size, scaling_factor, shift_factor, force_upcast) is known and not read.
    """

    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    down_block_types: tuple[Down, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[Up, ...] = ("UpDecoderBlock2D",)
    block_out_channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (64,)
    layers_per_block: Count = 1
    act_fn: Literal["silu", "swish"] = "silu"
    norm_num_groups: Literal[32] = 32
    latent_channels: Count
    sample_size: int | tuple[int, ...] | None = 32
    scaling_factor: float = 0.18215
    force_upcast: bool = True
    mid_block_add_attention: bool = True


class KLModel(Model):
    """config.json of AutoencoderKL."""

    latent_channels: Count = 4
    shift_factor: float | None = None
    latents_mean: None = None
    latents_std: None = None
    use_quant_conv: Literal[True] = True
    use_post_quant_conv: Literal[True] = True


class VQModel(Model):
    """config.json of VQModel."""

    latent_channels: Count = 3
    num_vq_embeddings: Count = 256
    vq_embed_dim: Count | None = None
    norm_type: Literal["group"] = "group"
    lookup_from_codebook: Literal[False] = False


def without_marks(config: Mapping[str, Any], expected: str) -> dict[str, Any]:
    """The configuration without diffusers' own marks (_class_name, _diffusers_version...)."""
    if config.get("_class_name", expected) != expected:
        raise ValueError(f"_class_name: is {config['_class_name']}, not {expected}")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def parameters(model: Model) -> dict[str, Any]:
    """The recipe parameters that both classes share; ValueError where ldmkit has no such model."""
    widths, levels = model.block_out_channels, len(model.block_out_channels)
    if not len(model.down_block_types) == len(model.up_block_types) == levels:
        raise ValueError("down_block_types, up_block_types, block_out_channels: not of one length")
    attends = [kind.startswith("Attn") for kind in model.down_block_types]
    if attends != [kind.startswith("Attn") for kind in reversed(model.up_block_types)]:
        raise ValueError("down_block_types, up_block_types: encoder and decoder attend at different levels")
    factor = 2 ** (levels - 1)
    size = model.sample_size
    resolution = size if isinstance(size, int) and size > 0 and size % factor == 0 else max(256, factor)
    return {
        "factor": factor,
        "width": widths[0],
        "multipliers": [w // widths[0] if w % widths[0] == 0 else w / widths[0] for w in widths],
        "blocks": model.layers_per_block,
        "attention": [resolution // 2**level for level in range(levels) if attends[level]],
        "resolution": resolution,
        "middle_attention": model.mid_block_add_attention,
    }


def config(p: Mapping[str, Any], table: Mapping[int, tuple[int, ...]]) -> dict[str, Any]:
    """The part of config.json that both classes share; ValueError where diffusers has no such model."""
    topology = topology_of(p, table)
    if topology.multipliers[0] != 1:
        raise ValueError("diffusers has no first multiplier other than 1")
    levels = range(len(topology.widths))
    down = ["Attn" * topology.encoder_attends(level) + "DownEncoderBlock2D" for level in levels]
    up = ["Attn" * topology.decoder_attends(level) + "UpDecoderBlock2D" for level in reversed(levels)]
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": list(topology.widths),
        "layers_per_block": topology.blocks,
        "act_fn": "silu",
        "norm_num_groups": 32,
        "sample_size": topology.resolution,
        "mid_block_add_attention": topology.middle_attention,
    }


def block_name(block: PlacedBlock) -> str:
    """diffusers' name of a block."""
    way = "down" if block.side == "encoder" else "up"
    place = "mid_block" if block.level is None else f"{way}_blocks.{block.order}"
    sort = {"residual": "resnets", "attention": "attentions", "resample": f"{way}samplers"}[block.sort]
    return f"{block.side}.{place}.{sort}.{block.index}"


def modern(tensors: Mapping[str, Tensor], model: Autoencoder) -> dict[str, Tensor]:
    """The tensors with attention's old layer names replaced by today's; where both are there, both stay."""
    renamed = {
        f"{block_name(block)}.{old}.{kind}": f"{block_name(block)}.{new}.{kind}"
        for block in placed_blocks(model)
        if block.sort == "attention"
        for old, new in OLD_ATTENTION.items()
        for kind in ("weight", "bias")
    }
    return {
        name if renamed.get(name) in tensors else renamed.get(name, name): x for name, x in tensors.items()
    }


class DiffusersKeys:
    """diffusers' names of tensors, the same for both autoencoders."""

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Published tensors as the module's state dict.

        Attention may be linear layers or 1x1 convolutions, under old or new names. ValueError names every key
        left over or missing.
        """
        assert isinstance(module, Autoencoder)
        return load(modern(tensors, module), module, self.rules(module))

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's tensors under diffusers' names; attention's weights as linear layers."""
        assert isinstance(module, Autoencoder)
        return keymaps.save(self.rules(module), module)

    def rules(self, module: Autoencoder) -> list[keymaps.Rule]:
        """Every parameter under diffusers' name."""
        return rules(module, block_name, LEAVES, SINGLES, linear=True)


class KLKeys(DiffusersKeys):
    """diffusers' AutoencoderKL."""

    classes = ("AutoencoderKL",)
    fold = staticmethod(fold)

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters from config.json; ValueError names what does not fit."""
        model = read(KLModel, without_marks(config, "AutoencoderKL"))
        return {**parameters(model), "channels": model.latent_channels}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """config.json; ValueError where diffusers has no such model."""
        p = complete(KLAutoencoder, parameters)
        if p["z_channels"] not in (None, p["channels"]):
            raise ValueError("diffusers' AutoencoderKL has no z_channels other than the latent's channels")
        shared = config(p, MULTIPLIERS)
        own = {"latent_channels": p["channels"], "shift_factor": None}
        return {"_class_name": "AutoencoderKL", **shared, **own}


class VQKeys(DiffusersKeys):
    """diffusers' VQModel; its beta sits on the commitment."""

    classes = ("VQModel",)

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters from config.json; ValueError names what does not fit."""
        model = read(VQModel, without_marks(config, "VQModel"))
        channels = model.vq_embed_dim or model.latent_channels
        inner = {"z_channels": model.latent_channels} if channels != model.latent_channels else {}
        own = {"channels": channels, **inner, "codebook_size": model.num_vq_embeddings, "order": "paper"}
        return {**parameters(model), **own}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """config.json; ValueError where diffusers has no such model."""
        p = complete(VQAutoencoder, parameters)
        return {
            "_class_name": "VQModel",
            **config(p, VQ_MULTIPLIERS),
            "latent_channels": p["z_channels"] or p["channels"],
            "vq_embed_dim": p["channels"],
            "num_vq_embeddings": p["codebook_size"],
        }
