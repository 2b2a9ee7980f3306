"""The key map of Hugging Face folders: `DiTTransformer2DModel`, in older ones `Transformer2DModel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit.keymaps import Rule, check_entries, refuse
from ldmkit_dit.dit import DiT

EMBEDDERS = {
    "time_embed.0": "timestep_embedder.linear_1",
    "time_embed.2": "timestep_embedder.linear_2",
}
"""Every block there has a copy of them, below norm1.emb; they are one."""
OUTER = {"patch_embed": "pos_embed.proj", "modulation_out": "proj_out_1", "out": "proj_out_2"}
BLOCK = {
    "modulation": ("norm1.linear",),
    "attention.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attention.out": ("attn1.to_out.0",),
    "feed_forward.0": ("ff.net.0.proj",),
    "feed_forward.2": ("ff.net.2",),
}
TABLE = "class_embedder.embedding_table.weight"
PATCHES = "pos_embed.proj.weight"
UNDERSTOOD = ("num_attention_heads", "attention_head_dim", "num_layers", "patch_size")
HARMLESS = (
    "_class_name", "_diffusers_version", "_name_or_path", "_use_default_values", "in_channels",
    "out_channels", "sample_size", "num_embeds_ada_norm", "norm_num_groups", "upcast_attention",
    "cross_attention_dim", "use_linear_projection", "num_vector_embeds", "interpolation_scale",
)  # fmt: skip
FIXED: Mapping[str, Sequence[Any]] = {
    "activation_fn": ["gelu-approximate"], "norm_type": ["ada_norm_zero"], "attention_bias": [True],
    "norm_elementwise_affine": [False], "dropout": [0.0, 0], "norm_eps": [1e-5, 1e-6],
    "attention_type": ["default"], "caption_channels": [None], "double_self_attention": [False],
    "only_cross_attention": [False], "use_additional_conditions": [None, False],
}  # fmt: skip
LARGEST = 100_000
AFFINE = ("weight", "bias")


class DiffusersDiT:
    """Key map `diffusers/dit`: the folder's `config.json` and its tensors.

    Channels follow from the neighbours. The classes are embedded by the network, from a one-hot vector.
    """

    classes = ("DiTTransformer2DModel", "Transformer2DModel")

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Recipe parameters of a `config.json`; ValueError names every entry that cannot be held."""
        check_entries(config, UNDERSTOOD, fixed=FIXED, harmless=HARMLESS)
        values = {"num_attention_heads": 16, "attention_head_dim": 72, "num_layers": 28, "patch_size": 2}
        values |= {key: value for key, value in config.items() if key in values}
        wrong = {key: value for key, value in values.items() if type(value) is not int or value > LARGEST}
        refuse(*(f"{key}: {value!r} is no sensible number" for key, value in wrong.items()))
        return {
            "width": values["num_attention_heads"] * values["attention_head_dim"],
            "depth": values["num_layers"],
            "heads": values["num_attention_heads"],
            "patch": values["patch_size"],
            "closed_frequencies": True,
        }

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The `config.json` of the constructor's arguments; ValueError where the class has no such model."""
        spec = parameters["conditions"]
        refuse(
            "conditions: the class has labels alone" if spec.tokens or spec.concat or not spec.vector else "",
            "" if parameters.get("closed_frequencies") else "closed_frequencies: the class has true only",
        )
        heads = parameters.get("heads", 6)
        return {
            "_class_name": "DiTTransformer2DModel",
            "num_attention_heads": heads,
            "attention_head_dim": parameters.get("width", 384) // heads,
            "in_channels": parameters["latent"].channels,
            "out_channels": parameters["out_channels"],
            "num_layers": parameters.get("depth", 12),
            "patch_size": parameters.get("patch", 2),
            "num_embeds_ada_norm": spec.vector - 1,
        }

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Tensors as the DiT's state dict; ValueError names the first that do not fit."""
        model = as_dit(module)
        own = dict(tensors)
        for index in range(1, len(model.blocks)):
            for name in embedders(model):
                first, again = (f"transformer_blocks.{i}.norm1.emb.{name}" for i in (0, index))
                if again in own and first in own and torch.equal(own[first], own[again]):
                    del own[again]
        if PATCHES in own and own[PATCHES].ndim == 4:
            own[PATCHES] = own[PATCHES].flatten(1)
        return keymaps.load(rules(model), own, model)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The DiT's tensors under published names."""
        model = as_dit(module)
        saved = keymaps.save(rules(model), model)
        saved[PATCHES] = saved[PATCHES].unflatten(1, (-1, model.patch, model.patch))
        for index in range(1, len(model.blocks)):
            for name in embedders(model):
                copied = saved[f"transformer_blocks.0.norm1.emb.{name}"].clone()
                saved[f"transformer_blocks.{index}.norm1.emb.{name}"] = copied
        return saved


def embedders(model: DiT) -> list[str]:
    """The tensors of the embedders, which every block repeats."""
    names = [f"{name}.{kind}" for name in EMBEDDERS.values() for kind in AFFINE]
    return names if model.vector_embed is None else [*names, TABLE]


def rules(model: DiT) -> Iterator[Rule]:
    """Every tensor of the DiT under its published name; embedders under those of the first block."""
    first = "transformer_blocks.0.norm1.emb"
    for kind in AFFINE:
        for own, published in OUTER.items():
            yield Rule(f"{own}.{kind}", (f"{published}.{kind}",))
        for own, published in EMBEDDERS.items():
            yield Rule(f"{own}.{kind}", (f"{first}.{published}.{kind}",))
        for index in range(len(model.blocks)):
            for own, names in BLOCK.items():
                at = tuple(f"transformer_blocks.{index}.{name}.{kind}" for name in names)
                yield Rule(f"blocks.{index}.{own}.{kind}", at)
    if model.vector_embed is not None:
        yield Rule("vector_embed.weight", (f"{first}.{TABLE}",), order=(1, 0))


def as_dit(module: nn.Module) -> DiT:
    """`module`, which must be a DiT: ValueError otherwise."""
    if not isinstance(module, DiT):
        raise ValueError(f"the key map names the tensors of a DiT, not of a {type(module).__name__}")
    return module
