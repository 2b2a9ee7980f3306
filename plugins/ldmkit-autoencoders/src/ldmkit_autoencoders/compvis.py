"""The published single files: configuration and key names of AutoencoderKL and VQModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit_autoencoders.autoencoder import MULTIPLIERS, Autoencoder
from ldmkit_autoencoders.blocks_in_order import SHARED_NAMES, PlacedBlock, Sort, load, rules
from ldmkit_autoencoders.folding import fold
from ldmkit_autoencoders.kl import KLAutoencoder
from ldmkit_autoencoders.network import Topology
from ldmkit_autoencoders.published import PublishedConfig, complete, read, topology_of
from ldmkit_autoencoders.vq import VQ_MULTIPLIERS, VQAutoencoder

Count = Annotated[int, Field(gt=0, strict=True)]

SINGLES = {
    **SHARED_NAMES,
    "encoder.norm_out": "encoder.norm_out",
    "decoder.norm_out": "decoder.norm_out",
}
RESIDUAL = {n: n for n in ("norm1", "conv1", "norm2", "conv2")} | {"shortcut": "nin_shortcut"}
ATTENTION = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
LEAVES: Mapping[Sort, Mapping[str, str]] = {
    "residual": RESIDUAL,
    "attention": ATTENTION,
    "resample": {"conv": "conv"},
}


class Networks(PublishedConfig):
    """`ddconfig`: encoder and decoder."""

    double_z: bool
    z_channels: Count
    resolution: Count
    in_channels: Literal[3]
    out_ch: Literal[3]
    ch: Count
    ch_mult: Annotated[tuple[Count, ...], Field(min_length=1)]
    num_res_blocks: Count
    attn_resolutions: tuple[Count, ...]
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    attn_type: Literal["vanilla", "vanilla-xformers", "none"] = "vanilla"
    resamp_with_conv: Literal[True] = True
    use_linear_attn: Literal[False] = False
    tanh_out: Literal[False] = False
    give_pre_end: Literal[False] = False


class Model(PublishedConfig):
    """`params` of a first stage. What concerns only its training is known and not read."""

    embed_dim: Count
    ddconfig: Networks
    lossconfig: Any = None
    monitor: str | None = None
    ckpt_path: str | None = None
    ignore_keys: Any = None
    image_key: str = "image"
    colorize_nlabels: int | None = None


class VQModel(Model):
    """`params` of VQModel and VQModelInterface."""

    n_embed: Count
    batch_resize_range: Any = None
    scheduler_config: Any = None
    lr_g_factor: float = 1.0
    remap: None = None
    sane_index_shape: bool = False
    use_ema: bool = False


def parameters(model: Model) -> dict[str, Any]:
    """The recipe parameters that both autoencoders share.

    `attn_type: none` switches off every attention, whatever attn_resolutions say.
    """
    d = model.ddconfig
    return {
        "factor": 2 ** (len(d.ch_mult) - 1),
        "channels": model.embed_dim,
        **({"z_channels": d.z_channels} if d.z_channels != model.embed_dim else {}),
        "width": d.ch,
        "multipliers": list(d.ch_mult),
        "blocks": d.num_res_blocks,
        "attention": list(d.attn_resolutions) if d.attn_type != "none" else [],
        "resolution": d.resolution,
        "middle_attention": d.attn_type != "none",
        "dropout": d.dropout,
    }


def config(p: Mapping[str, Any], table: Mapping[int, tuple[int, ...]], double_z: bool) -> dict[str, Any]:
    """The part of the configuration that both autoencoders share; ValueError where the format cannot hold
    it."""
    topology = topology_of(p, table)
    check_topology(topology)
    return {
        "embed_dim": p["channels"],
        "ddconfig": {
            "double_z": double_z,
            "z_channels": p["z_channels"] or p["channels"],
            "resolution": topology.resolution,
            "in_channels": 3,
            "out_ch": 3,
            "ch": topology.width,
            "ch_mult": list(topology.multipliers),
            "num_res_blocks": topology.blocks,
            "attn_resolutions": list(topology.attention),
            "dropout": topology.dropout,
            **({} if topology.middle_attention else {"attn_type": "none"}),
        },
        "lossconfig": {"target": "torch.nn.Identity"},
    }


def check_topology(topology: Topology) -> None:
    """ValueError for multipliers and attention that the published code has not."""
    if any(not isinstance(m, int) for m in topology.multipliers):
        raise ValueError("the published code takes whole multipliers only")
    levels = range(len(topology.widths))
    attends = any(topology.encoder_attends(n) or topology.decoder_attends(n) for n in levels)
    if attends and not topology.middle_attention:
        raise ValueError("the published code cannot attend at a level but not in the middle")


def block_name(block: PlacedBlock) -> str:
    """The published name of a block."""
    if block.level is None:
        sort = "attn" if block.sort == "attention" else "block"
        return f"{block.side}.mid.{sort}_{block.index + 1}"
    way = "down" if block.side == "encoder" else "up"
    own = {"residual": f"block.{block.index}", "attention": f"attn.{block.index}", "resample": f"{way}sample"}
    return f"{block.side}.{way}.{block.level}.{own[block.sort]}"


class CompVisKeys:
    """The published names of tensors, the same for both autoencoders."""

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Published tensors as the module's state dict.

        `loss.*`, which stand-alone first-stage files carry for their training, is not read. ValueError names
        every other key left over or missing.
        """
        assert isinstance(module, Autoencoder)
        kept = {name: x for name, x in tensors.items() if not name.startswith("loss.")}
        return load(kept, module, self.rules(module))

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's tensors under published names."""
        assert isinstance(module, Autoencoder)
        return keymaps.save(self.rules(module), module)

    def rules(self, module: Autoencoder) -> list[keymaps.Rule]:
        """Every parameter under its published name."""
        return rules(module, block_name, LEAVES, SINGLES, linear=False)


class KLKeys(CompVisKeys):
    """AutoencoderKL of the published code."""

    classes = ("ldm.models.autoencoder.AutoencoderKL", "sgm.models.autoencoder.AutoencoderKLInferenceWrapper")
    fold = staticmethod(fold)

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters from the configuration's `params`; ValueError names what does not fit."""
        model = read(Model, config)
        if not model.ddconfig.double_z:
            raise ValueError("ddconfig.double_z: a KL autoencoder needs true (mean and log-variance)")
        return parameters(model)

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration's `params`; ValueError where the format cannot hold the model."""
        return config(complete(KLAutoencoder, parameters), MULTIPLIERS, double_z=True)


class VQKeys(CompVisKeys):
    """VQModel and VQModelInterface of the published code; their beta sits on the codebook term ("legacy")."""

    classes = ("ldm.models.autoencoder.VQModelInterface", "ldm.models.autoencoder.VQModel")

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters from the configuration's `params`; ValueError names what does not fit."""
        model = read(VQModel, config)
        if model.ddconfig.double_z:
            raise ValueError("ddconfig.double_z: a VQ autoencoder needs false (no log-variance)")
        return {**parameters(model), "codebook_size": model.n_embed, "order": "legacy"}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration's `params`; ValueError where the format cannot hold the model."""
        p = complete(VQAutoencoder, parameters)
        return {"n_embed": p["codebook_size"], **config(p, VQ_MULTIPLIERS, double_z=False)}
