"""Text encoders of single files, which become folders that transformers reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ldmkit.keymaps import WithoutTensors, check_entries, refuse, some
from ldmkit_text.open_clip import OUTER, as_transformers, from_transformers
from ldmkit_text.pretrained import PretrainedText

HEAD = 64
"""Channels of a head in every published CLIP text encoder."""
DEPTHS = {768: 12, 1024: 24, 1280: 32}
"""Blocks of the published CLIP text encoders of these widths (ViT-L/14, ViT-H/14, ViT-bigG/14)."""
EMBEDDERS = ("embedders.0.", "embedders.1.")
LAYER = "text_model.encoder.layers."
SIZED = (*(f"text_model.{name}" for name in OUTER.values()), f"{LAYER}0.mlp.fc1.weight")
"""Tensors whose shapes say how large an encoder is."""


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
    tokenizer_files = "its tokenizer.json, or vocab.json and merges.txt,"

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """pretrained-text's parameters; ValueError for states that it does not give."""
        harmless = ("version", "device", "freeze", "arch", "layer_idx", "always_return_pooled")
        check_entries(config, ("max_length",), fixed={"layer": ("last", "penultimate")}, harmless=harmless)
        return {"length": config.get("max_length", 77)}

    def encoders(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Encoder]:
        """The encoder out of the file's tensors, by its folder's name; ValueError names those that do not
        fit."""
        if any(name.startswith("model.") for name in tensors):
            return {"text_encoder": _from_open_clip(tensors, config.get("layer", "last") == "penultimate")}
        return {"text_encoder": _from_transformers(tensors)}

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
        """Lines on what an export has to invent."""
        assert isinstance(module, PretrainedText)
        line = "text encoder: a last block of zeros is written, which its penultimate states do not pass"
        return [line] if _is_open_clip(module) else []

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The encoder's tensors below `cond_stage_model.`; ValueError for any but CLIP."""
        assert isinstance(module, PretrainedText)
        if _is_open_clip(module):
            return from_transformers(module.encoder.state_dict())
        state = {name.removeprefix("text_model."): x for name, x in module.encoder.state_dict().items()}
        kept = {f"transformer.text_model.{name}": x for name, x in state.items()}
        return {name: x for name, x in kept.items() if not name.endswith("position_ids")}

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Nothing: the tensors are in the encoder's folder, see `encoders`."""
        return {}


class CompvisPairedText(WithoutTensors):
    """The two text encoders of Stable Diffusion XL in sgm's `GeneralConditioner`; `config` is its `params`.

    The sizes that stand beside them there are another conditioner. Tokenizers as for `CompvisPretrainedText`.
    """

    classes = ("sgm.modules.GeneralConditioner",)
    condition = "caption"
    tokenizer = "the two tokenizers of Stable Diffusion XL"
    tokenizer_files = "the folders tokenizer and tokenizer_2"
    HARMLESS = ("version", "arch", "device", "freeze")

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """paired-text's parameters; ValueError for states that it does not give."""
        first, second = (model.get("params") or {} for model in config["emb_models"][:2])
        own = ("max_length", "layer_idx")
        layer = {"layer": ("hidden",)}
        check_entries(first, own, fixed=layer, harmless=self.HARMLESS, required=("layer", "layer_idx"))
        states = {"layer": ("penultimate",), "legacy": (False,), "always_return_pooled": (True,)}
        check_entries(second, ("max_length",), fixed=states, harmless=self.HARMLESS, required=states)
        return {"length": min(params.get("max_length", 77) for params in (first, second))}

    def encoders(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Encoder]:
        """Both encoders out of the file's tensors, by their folders' names; ValueError names those that do
        not fit."""
        first, second = ({n[len(p) :]: x for n, x in tensors.items() if n.startswith(p)} for p in EMBEDDERS)
        strange = [name for name in tensors if not name.startswith(EMBEDDERS)]
        refuse(f"left over: {some(strange)}" if strange else "")
        encoders = {"text_encoder": _from_transformers(first), "text_encoder_2": _projected(second)}
        layer = config["emb_models"][0]["params"]["layer_idx"]
        before_last = encoders["text_encoder"].config["num_hidden_layers"] - 1
        refuse(
            f"layer_idx: {layer} (only the one before the last, {before_last})"
            if layer != before_last
            else ""
        )
        return encoders


def _from_transformers(tensors: Mapping[str, Tensor]) -> Encoder:
    """The encoder of OpenAI's CLIP, whose names are those of transformers."""
    own = {n.removeprefix("transformer."): x for n, x in tensors.items() if not n.endswith("position_ids")}
    strange = [name for name in own if not name.startswith("text_model.")]
    refuse(f"left over: {some(strange)}" if strange else "")
    _check_depth(own)
    return Encoder(_config(own, "quick_gelu"), own)


def _projected(tensors: Mapping[str, Tensor]) -> Encoder:
    """The encoder of open_clip's tensors with the projection of the whole text."""
    projection = tensors.get("model.text_projection")
    if projection is None:
        raise ValueError("missing: model.text_projection")
    renamed = as_transformers(tensors)
    _check_depth(renamed)
    whole = {"architectures": ["CLIPTextModelWithProjection"], "projection_dim": projection.shape[1]}
    weight = {"text_projection.weight": projection.T.contiguous()}
    return Encoder({**_config(renamed, "gelu"), **whole}, {**renamed, **weight})


def _from_open_clip(tensors: Mapping[str, Tensor], penultimate: bool) -> Encoder:
    """The encoder of open_clip's tensors; without its last block where the states before it are read. Files
    that were written out of other formats may lack that one already."""
    renamed = as_transformers(tensors)
    if _check_depth(renamed, penultimate) or not penultimate:
        return Encoder(_config(renamed, "gelu"), renamed)
    last = max(_layers(renamed), default=0)
    passed = {name: x for name, x in renamed.items() if not name.startswith(f"{LAYER}{last}.")}
    note = f"left aside: block {last} of the text encoder, which its penultimate states do not pass"
    return Encoder(_config(passed, "gelu"), passed, [note])


def _check_depth(tensors: Mapping[str, Tensor], penultimate: bool = False) -> bool:
    """Whether the last block, which penultimate states do not pass, is absent; ValueError for an encoder of a
    published width that lacks others."""
    words, blocks = tensors.get(SIZED[0]), len(_layers(tensors))
    depth = DEPTHS.get(0 if words is None else words.shape[-1], blocks)
    absent = penultimate and blocks == depth - 1
    if blocks != depth and not absent:
        raise ValueError(f"{blocks} blocks; the published encoder of that width has {depth}")
    return absent


def _is_open_clip(module: PretrainedText) -> bool:
    """Whether it is open_clip's kind of CLIP and not OpenAI's; ValueError where it is no CLIP."""
    kind = module.encoder.config
    if kind.model_type != "clip_text_model" or kind.hidden_act not in ("quick_gelu", "gelu"):
        raise ValueError(f"the format holds CLIP's text encoder alone, not {kind.model_type}")
    return bool(kind.hidden_act == "gelu")


def _config(tensors: Mapping[str, Tensor], activation: str) -> dict[str, Any]:
    """config.json of CLIPTextModel, whose sizes follow from the tensors' shapes."""
    missing = [name for name in SIZED if name not in tensors]
    refuse(f"missing: {some(missing)}" if missing else "")
    words, places, _, _, hidden = (tensors[name] for name in SIZED)
    width = words.shape[1]
    refuse(f"width {width} is no multiple of {HEAD}" if width % HEAD else "")
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_act": activation,
        "hidden_size": width,
        "intermediate_size": hidden.shape[0],
        "num_attention_heads": width // HEAD,
        "num_hidden_layers": len(_layers(tensors)),
        "max_position_embeddings": places.shape[0],
        "vocab_size": words.shape[0],
        "projection_dim": width,
        "bos_token_id": words.shape[0] - 2,
        "eos_token_id": words.shape[0] - 1,
        "pad_token_id": words.shape[0] - 1,
        "torch_dtype": str(words.dtype).removeprefix("torch."),
    }


def _layers(tensors: Mapping[str, Tensor]) -> set[int]:
    """The numbers of the layers that have tensors."""
    return {int(name.removeprefix(LAYER).split(".")[0]) for name in tensors if name.startswith(LAYER)}
