"""Published names of the conditioners' tensors, and their published configurations.

Every name is accounted for. The single exception is `to_logits`, which no published sampler
reads: a module built without it (`logits: false`) drops it on loading and exports zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit import keymaps
from ldmkit.keymaps import Rule, check_entries
from ldmkit_text.boxes import CROP, PER_OBJECT
from ldmkit_text.transformer import TextTransformer
from ldmkit_text.wordpieces import VOCABULARY

Names = Iterator[tuple[str, tuple[str, ...]]]
"""Our name of a tensor, with the published ones whose rows it holds one below the other."""
ENCODERS = "ldm.modules.encoders.modules"
AFFINE = ("weight", "bias")
PUBLISHED_HEADS = {"heads": 8, "head_channels": 64}


def compvis_names(layers: int) -> Names:
    """The text transformer in the published single file, below `cond_stage_model.`."""
    yield "token_embedding.weight", ("transformer.token_emb.weight",)
    yield "position_embedding.weight", ("transformer.pos_emb.emb.weight",)
    for kind in AFFINE:
        yield f"norm.{kind}", (f"transformer.norm.{kind}",)
    for i in range(layers):
        stack, ours = "transformer.attn_layers.layers", f"blocks.{i}"
        attention, forward = f"{stack}.{2 * i}", f"{stack}.{2 * i + 1}"
        yield f"{ours}.attention.to_qkv.weight", tuple(f"{attention}.1.to_{x}.weight" for x in "qkv")
        for kind in AFFINE:
            yield f"{ours}.norm1.{kind}", (f"{attention}.0.{kind}",)
            yield f"{ours}.attention.to_out.{kind}", (f"{attention}.1.to_out.{kind}",)
            yield f"{ours}.norm2.{kind}", (f"{forward}.0.{kind}",)
            yield f"{ours}.feed_forward.0.{kind}", (f"{forward}.1.net.0.0.{kind}",)
            yield f"{ours}.feed_forward.2.{kind}", (f"{forward}.1.net.2.{kind}",)


def diffusers_names(layers: int) -> Names:
    """The text transformer in the `bert/` folder of a Hugging Face pipeline."""
    yield "token_embedding.weight", ("model.embed_tokens.weight",)
    yield "position_embedding.weight", ("model.embed_positions.weight",)
    for kind in AFFINE:
        yield f"norm.{kind}", (f"model.layer_norm.{kind}",)
    for i in range(layers):
        layer, ours = f"model.layers.{i}", f"blocks.{i}"
        yield f"{ours}.attention.to_qkv.weight", tuple(f"{layer}.self_attn.{x}_proj.weight" for x in "qkv")
        for kind in AFFINE:
            yield f"{ours}.norm1.{kind}", (f"{layer}.self_attn_layer_norm.{kind}",)
            yield f"{ours}.attention.to_out.{kind}", (f"{layer}.self_attn.out_proj.{kind}",)
            yield f"{ours}.norm2.{kind}", (f"{layer}.final_layer_norm.{kind}",)
            yield f"{ours}.feed_forward.0.{kind}", (f"{layer}.fc1.{kind}",)
            yield f"{ours}.feed_forward.2.{kind}", (f"{layer}.fc2.{kind}",)


class TransformerKeys:
    """Tensors of the text transformer under the names of one format."""

    def __init__(self, names: Callable[[int], Names], logits: str) -> None:
        self.names, self.logits = names, logits

    def load(self, tensors: Mapping[str, Tensor], module: TextTransformer) -> dict[str, Tensor]:
        """The module's state dict; ValueError names every key left over or missing."""
        if module.transformer.to_logits is None:
            tensors = {n: t for n, t in tensors.items() if not n.startswith(f"{self.logits}.")}
        return keymaps.load(self._table(module), tensors, module)

    def save(self, module: TextTransformer) -> dict[str, Tensor]:
        """The module's state dict under published names."""
        saved = keymaps.save(self._table(module), module)
        if module.transformer.to_logits is None:
            weight = module.transformer.token_embedding.weight
            saved[f"{self.logits}.weight"] = torch.zeros_like(weight).detach()
            saved[f"{self.logits}.bias"] = weight.new_zeros(weight.shape[0])
        return saved

    def _table(self, module: TextTransformer) -> Iterator[Rule]:
        for ours, published in self.names(len(module.transformer.blocks)):
            yield Rule(f"transformer.{ours}", published)
        if module.transformer.to_logits is not None:
            for kind in AFFINE:
                yield Rule(f"transformer.to_logits.{kind}", (f"{self.logits}.{kind}",))


class CompvisTextTransformer(TransformerKeys):
    """`BERTEmbedder` of the published single file; `config` is its `params`.

    A model without tokenizer reads layouts where its length has room for the crop's two tokens and three an
    object, else plain ids.
    """

    classes = (
        "ldm.modules.encoders.modules.BERTEmbedder",
        "ldm.modules.encoders.modules.TransformerEmbedder",
    )
    condition = "caption"

    def __init__(self) -> None:
        super().__init__(compvis_names, "transformer.to_logits")

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """text-transformer's parameters; ValueError for what it cannot be."""
        renamed = {
            "n_embed": "width",
            "n_layer": "layers",
            "vocab_size": "vocabulary",
            "max_seq_len": "length",
        }
        ignored = ("device", "use_tokenizer", "embedding_dropout")
        check_entries(config, renamed, harmless=ignored, required=("n_embed", "n_layer"))
        values = {ours: config[key] for key, ours in renamed.items() if key in config}
        if not config.get("use_tokenizer", True):
            objects, rest = divmod(config.get("max_seq_len", 77) - CROP, PER_OBJECT)
            values["tokenizer"] = "boxes" if objects > 0 and not rest else "ids"
        return {**values, "logits": True}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """`BERTEmbedder`'s params; ValueError for heads that it cannot have."""
        for name, value in PUBLISHED_HEADS.items():
            if parameters.get(name, value) != value:
                raise ValueError(f"{name}: the published format has {value} only, not {parameters[name]}")
        tokenizer = parameters.get("tokenizer", "bert")
        return {
            "n_embed": parameters.get("width", 1280),
            "n_layer": parameters.get("layers", 32),
            "vocab_size": parameters.get("vocabulary", VOCABULARY),
            "max_seq_len": parameters.get("length", 77),
            "use_tokenizer": tokenizer == "bert",
        }


class DiffusersTextTransformer(TransformerKeys):
    """`LDMBertModel`; `config` is its config.json, whose bookkeeping of transformers is passed over."""

    classes = ("LDMBertModel",)
    RENAMED = (
        ("d_model", "width", 1280),
        ("encoder_layers", "layers", 32),
        ("encoder_attention_heads", "heads", 8),
        ("head_dim", "head_channels", 64),
        ("max_position_embeddings", "length", 77),
        ("vocab_size", "vocabulary", VOCABULARY),
    )

    def __init__(self) -> None:
        super().__init__(diffusers_names, "to_logits")

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """text-transformer's parameters; ValueError for what it cannot be."""
        values = {ours: config.get(key, default) for key, ours, default in self.RENAMED}
        fixed = {
            "activation_function": "gelu",
            "scale_embedding": False,
            "encoder_ffn_dim": 4 * values["width"],
        }
        for key, value in fixed.items():
            if config.get(key, value) != value:
                raise ValueError(f"{key}: {config[key]!r} is not supported; only {value!r}")
        return {**values, "logits": True}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """config.json of `LDMBertModel`."""
        values = {key: parameters.get(ours, default) for key, ours, default in self.RENAMED}
        return {
            **values,
            "encoder_ffn_dim": 4 * values["d_model"],
            "activation_function": "gelu",
            "scale_embedding": False,
            "pad_token_id": 0,
            "model_type": "ldmbert",
            "architectures": ["LDMBertModel"],
        }


class CompvisClassEmbedding:
    """`ClassEmbedder` of the published single file; `config` is its `params`.

    With 1001 classes, one more than ImageNet has, the last is the unconditional one.
    """

    classes = (f"{ENCODERS}.ClassEmbedder",)
    condition = "label"
    IMAGENET = 1000
    TABLE = (Rule("embedding.weight", ("embedding.weight",)),)

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """class-embedding's parameters; ValueError for what it cannot be."""
        check_entries(config, ("embed_dim", "n_classes"), harmless=("key",), required=("embed_dim",))
        classes = config.get("n_classes", self.IMAGENET)
        extra = {"unconditional": self.IMAGENET} if classes == self.IMAGENET + 1 else {}
        return {"width": config["embed_dim"], "classes": classes, **extra}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """`ClassEmbedder`'s params; ValueError where the class goes to the time embedding."""
        if parameters.get("to", "tokens") != "tokens":
            raise ValueError(f"to {parameters['to']}: the published format has tokens only")
        return {
            "embed_dim": parameters.get("width", 512),
            "n_classes": parameters.get("classes", self.IMAGENET),
            "key": "class_label",
        }

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict; ValueError names every key left over or missing."""
        return keymaps.load(self.TABLE, tensors, module)

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict under published names."""
        return keymaps.save(self.TABLE, module)
