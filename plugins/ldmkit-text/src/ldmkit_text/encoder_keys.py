"""Pretrained text encoders in published formats: they stay in a folder that transformers reads."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit.keymaps import check_entries, refuse, some
from ldmkit_text.paired import PairedText
from ldmkit_text.pretrained import PretrainedText

HEAD = 64
"""Channels of a head in every published CLIP text encoder."""
BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
RENAMED = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
"""open_clip's layers of a block, as transformers calls them."""
OUTER = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
UNREAD = {"text_projection", "logit_scale", "attn_mask"}
"""open_clip's tensors that token states do not pass."""
PLAIN = ("*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Encoder:
    """A text encoder as transformers holds it: config.json, tensors, and what was left aside."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


class CompvisPretrainedText:
    """`FrozenCLIPEmbedder` and `FrozenOpenCLIPEmbedder` of single files; `config` is their `params`.

    The file holds the encoder's tensors, not its tokenizer. The number of heads follows from 64 channels a
    head, which every published one has.
    """

    classes = ("ldm.modules.encoders.modules.FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder")
    condition = "caption"
    tokenizer = "CLIP's tokenizer"

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """pretrained-text's parameters; ValueError for states that it does not give."""
        harmless = ("version", "device", "freeze", "arch", "layer_idx", "always_return_pooled")
        check_entries(config, ("max_length",), fixed={"layer": ("last", "penultimate")}, harmless=harmless)
        return {"length": config.get("max_length", 77)}

    def encoder(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Encoder:
        """The encoder's own folder out of the file's tensors; ValueError names those that do not fit."""
        if any(name.startswith("model.") for name in tensors):
            return _open_clip(tensors, config.get("layer", "last") == "penultimate")
        plain = {name.removeprefix("transformer."): x for name, x in tensors.items()}
        plain = {name: x for name, x in plain.items() if not name.endswith("position_ids")}
        strange = [name for name in plain if not name.startswith("text_model.")]
        refuse(f"left over: {some(strange)}" if strange else "")
        return Encoder(_config(plain, "quick_gelu"), plain)

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """FrozenCLIPEmbedder's params."""
        return {"max_length": parameters.get("length", 77)}

    def section(self, module: nn.Module) -> dict[str, Any]:
        """The class that the encoder is there, with its params: OpenAI's CLIP, or open_clip's with its
        penultimate states; ValueError for any other encoder."""
        assert isinstance(module, PretrainedText)
        length = {"max_length": module.length}
        if _is_open_clip(module):
            params = {"freeze": True, "layer": "penultimate", **length}
            return {"target": "ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder", "params": params}
        return {"target": self.classes[0], "params": length}

    def notes(self, module: nn.Module) -> list[str]:
        """What export makes up."""
        assert isinstance(module, PretrainedText)
        line = "text encoder: a last block of zeros is written, which its penultimate states do not pass"
        return [line] if _is_open_clip(module) else []

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The encoder's tensors below `cond_stage_model.`; ValueError for any but CLIP."""
        assert isinstance(module, PretrainedText)
        if _is_open_clip(module):
            return _as_open_clip(module.encoder.state_dict())
        state = {name.removeprefix("text_model."): x for name, x in module.encoder.state_dict().items()}
        kept = {f"transformer.text_model.{name}": x for name, x in state.items()}
        return {name: x for name, x in kept.items() if not name.endswith("position_ids")}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Nothing: the tensors are in the encoder's folder, see `encoder`."""
        return {}


class DiffusersPretrainedText:
    """`text_encoder/` and `tokenizer/` of a pipeline; files stay as they are, weights that were tuned are
    written anew."""

    classes = ("CLIPTextModel",)
    condition = "caption"

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The length of a caption."""
        return {"length": config.get("max_position_embeddings", 77)}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing: config.json is copied by `write_folders`."""
        return {}

    def write_folders(self, module: nn.Module, out: Path) -> dict[str, Any]:
        """Writes both folders below `out`; their entries in the pipeline's index."""
        assert isinstance(module, PretrainedText)
        copy_files(module.folders["tokenizer"], out / "tokenizer", PLAIN)
        weights = module.folders["text_encoder"] / "model.safetensors"
        if module.tune or not weights.is_file():
            module.encoder.save_pretrained(out / "text_encoder", safe_serialization=True)
        else:
            copy_files(module.folders["text_encoder"], out / "text_encoder", ("config.json", weights.name))
        classes = {"text_encoder": module.encoder, "tokenizer": module.tokenizer}
        return {name: ["transformers", type(part).__name__] for name, part in classes.items()}

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """Nothing: see `write_folders`."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Nothing: the tensors stay in the encoder's folder."""
        return {}


class DiffusersPairedText:
    """Both encoders and tokenizers of StableDiffusionXLPipeline; their files stay as they are."""

    classes = ()
    condition = "caption"

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The length of a caption."""
        return {"length": config.get("max_position_embeddings", 77)}

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Nothing: config.json is copied by `write_folders`."""
        return {}

    def write_folders(self, module: nn.Module, out: Path) -> dict[str, Any]:
        """Copies the four folders below `out`; their entries in the pipeline's index, and what the pipeline
        takes for no prompt."""
        assert isinstance(module, PairedText)
        for name, folder in module.folders.items():
            copy_files(folder, out / name, (*PLAIN, "model.safetensors"))
        parts = [*module.encoder, *module.tokenizers]
        index = {
            name: ["transformers", type(part).__name__]
            for name, part in zip(module.folders, parts, strict=True)
        }
        return {**index, "force_zeros_for_empty_prompt": not module.empty}

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """Nothing: see `write_folders`."""
        return {}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Nothing: the tensors stay in the encoders' folders."""
        return {}


def copy_files(source: Path, out: Path, patterns: tuple[str, ...]) -> None:
    """Copies the files of a folder that fit one of the patterns."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted({p for pattern in patterns for p in source.glob(pattern)}):
        shutil.copyfile(path, out / path.name)


def _open_clip(tensors: Mapping[str, Tensor], penultimate: bool) -> Encoder:
    """open_clip's text tower under transformers' names."""
    own = {name.removeprefix("model."): x for name, x in tensors.items()}
    own = {name: x for name, x in own.items() if name not in UNREAD and not name.startswith("visual.")}
    blocks = {int(match[1]) for name in own if (match := BLOCK.match(name))}
    last = max(blocks, default=0) if penultimate else None
    renamed: dict[str, Tensor] = {}
    strange = []
    for name, tensor in own.items():
        match = BLOCK.match(name)
        if name in OUTER:
            renamed[f"text_model.{OUTER[name]}"] = tensor
        elif match and int(match[1]) != last:
            renamed |= _block(f"text_model.encoder.layers.{match[1]}", match[2], tensor)
        elif not match:
            strange.append(name)
    refuse(f"left over: {some(strange)}" if strange else "")
    note = f"left aside: block {last} of the text encoder, which its penultimate states do not pass"
    return Encoder(_config(renamed, "gelu"), renamed, [note] if penultimate else [])


def _is_open_clip(module: PretrainedText) -> bool:
    """Is it open_clip's kind of CLIP, and not OpenAI's? ValueError where it is none."""
    kind = module.encoder.config
    if kind.model_type != "clip_text_model" or kind.hidden_act not in ("quick_gelu", "gelu"):
        raise ValueError(f"the format holds CLIP's text encoder alone, not {kind.model_type}")
    return bool(kind.hidden_act == "gelu")


def _as_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' tensors under open_clip's names, with a block of zeros behind the last."""
    own = {name.removeprefix("text_model."): x for name, x in state.items()}
    tensors = {f"model.{theirs}": own[ours] for theirs, ours in OUTER.items()}
    layers = {int(name.split(".")[2]) for name in own if name.startswith("encoder.layers.")}
    for layer in sorted(layers):
        prefix, block = f"encoder.layers.{layer}.", f"model.transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            joint = [own[f"{prefix}self_attn.{x}_proj.{kind}"] for x in "qkv"]
            tensors[f"{block}attn.in_proj_{kind}"] = torch.cat(joint)
            tensors |= {
                f"{block}{theirs}.{kind}": own[f"{prefix}{ours}.{kind}"] for theirs, ours in RENAMED.items()
            }
    last, spare = max(layers), f"model.transformer.resblocks.{max(layers) + 1}."
    before = f"model.transformer.resblocks.{last}."
    zeros = {
        n.replace(before, spare): torch.zeros_like(x) for n, x in tensors.items() if n.startswith(before)
    }
    return tensors | zeros


def _block(prefix: str, name: str, tensor: Tensor) -> dict[str, Tensor]:
    stem, _, kind = name.rpartition(".")
    if name in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = name.rpartition("_")[2]
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{prefix}.self_attn.{x}_proj.{kind}": part.clone() for x, part in parts}
    refuse(f"left over: {name}" if stem not in RENAMED else "")
    return {f"{prefix}.{RENAMED[stem]}.{kind}": tensor}


def _config(tensors: Mapping[str, Tensor], activation: str) -> dict[str, Any]:
    """config.json of CLIPTextModel, whose sizes follow from the tensors' shapes."""
    needed = {key: f"text_model.{key}" for key in (*OUTER.values(), "encoder.layers.0.mlp.fc1.weight")}
    missing = [name for name in needed.values() if name not in tensors]
    refuse(f"missing: {some(missing)}" if missing else "")
    words, places = (
        tensors[needed[OUTER[key]]] for key in ("token_embedding.weight", "positional_embedding")
    )
    width = words.shape[1]
    refuse(f"width {width} is no multiple of {HEAD}" if width % HEAD else "")
    layers = {name.split(".")[3] for name in tensors if name.startswith("text_model.encoder.layers.")}
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_act": activation,
        "hidden_size": width,
        "intermediate_size": tensors[needed["encoder.layers.0.mlp.fc1.weight"]].shape[0],
        "num_attention_heads": width // HEAD,
        "num_hidden_layers": len(layers),
        "max_position_embeddings": places.shape[0],
        "vocab_size": words.shape[0],
        "projection_dim": width,
        "bos_token_id": words.shape[0] - 2,
        "eos_token_id": words.shape[0] - 1,
        "pad_token_id": words.shape[0] - 1,
        "torch_dtype": str(words.dtype).removeprefix("torch."),
    }
