"""A CLIP network of open_clip's: built from its configuration, its weights read safely, frozen."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from itertools import compress
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ldmkit.errors import first_line, on_one_line
from ldmkit.types import Image
from ldmkit_clip.sources import Files, Network, files_of

Embedded = Float[Tensor, "b e"]
"""Unit vectors."""
Ids = Int[Tensor, "b l"]


class Clip(nn.Module):
    """Image and text towers with a joint embedding space (Radford et al. 2021). Frozen in evaluation mode;
    gradients with respect to pictures are kept.

    label: how figures name the network. length: tokens of a text. width: channels of a token's state.
    embedding: numbers of a vector in the towers' space.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, tokenize: Any, files: Files, label: str) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.tokenize, self.label = tokenize, label
        self.text = files.config["text_cfg"]
        self.width, self.embedding = int(self.text.get("width", 512)), int(files.config["embed_dim"])
        self.length = int(self.text.get("context_length", 77))
        size = files.config["vision_cfg"].get("image_size", 224)
        self.size: tuple[int, int] = (size, size) if isinstance(size, int) else (size[0], size[1])
        for name, value in zip(("mean", "std"), _statistics(files), strict=True):
            self.register_buffer(name, torch.tensor(value).reshape(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Clip:
        """Stays in evaluation mode."""
        return super().train(False)

    @property
    def scale(self) -> float:
        """The factor of the cosine in the network's logits: the inverse of its temperature."""
        return float(self.model.logit_scale.exp())

    def images(self, image: Image) -> Embedded:
        """The vector of each picture (in [-1, 1]), its longer side cropped, resized to the network's size."""
        x = F.interpolate(_square(image), self.size, mode="bicubic", antialias=True, align_corners=False)
        embedded: Tensor = self.model.encode_image(((x + 1) / 2 - self.mean) / self.std, normalize=True)
        return embedded

    def ids(self, texts: Sequence[str]) -> Ids:
        """Token ids of each text, cut at `length` and filled up to it."""
        ids: Tensor = self.tokenize(list(texts))
        return ids

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts that have more than `length` tokens, which `ids` cuts."""
        longer: Ids = self.tokenize([*texts, ""], context_length=self.length + 1)
        return list(compress(texts, (longer[:-1, -1] != longer[-1, -1]).tolist()))

    def texts(self, texts: Sequence[str]) -> Embedded:
        """The vector of each text."""
        return self.pooled(self.ids(texts).to(self.mean.device))

    @torch.no_grad()
    def pooled(self, ids: Ids) -> Embedded:
        """The vector of each row of ids."""
        embedded: Tensor = self.model.encode_text(ids, normalize=True)
        return embedded

    @torch.no_grad()
    def token_states(self, ids: Ids) -> Float[Tensor, "b l d"]:
        """The text tower's normalized states of all positions, before pooling."""
        features = self.model.forward_intermediates(
            text=ids, text_indices=1, normalize_intermediates=True, intermediates_only=True
        )
        states: Tensor = features["text_intermediates"][-1]
        return states

    def mask(self, ids: Ids) -> Bool[Tensor, "b l"]:
        """True up to a text's end, where the network pools; everywhere in networks that pool elsewhere."""
        place = torch.arange(ids.shape[1], device=ids.device)
        pooling = self.text.get("pool_type", "argmax")
        if pooling == "argmax":
            return place <= ids.argmax(1, keepdim=True)
        if pooling == "eos":
            return place <= (ids == self.text.get("eos_id", 2)).int().argmax(1, keepdim=True)
        return torch.ones_like(ids, dtype=torch.bool)


def load_clip(network: Network) -> Clip:
    """The network, read once a process; on the "meta" default device its structure without weights."""
    return _loaded(network, torch.get_default_device().type)


@cache
def _loaded(network: Network, device: str) -> Clip:
    files = files_of(network)
    with torch.device(device):
        model = _built(files)
        if device != "meta":
            _read(model, files)
        return Clip(model, _tokenizer(files), files, network.label)


def _built(files: Files) -> Any:
    """The architecture of the configuration with random weights; nothing is fetched for it."""
    from open_clip.model import CLIP, CustomTextCLIP

    config = deepcopy(files.config)
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "multimodal_cfg" in config or text.get("hf_model_name"):
        raise ValueError(
            "of open_clip's networks those with a text tower of its own are read, "
            "not captioners (CoCa) and those on a transformers text encoder"
        )
    if ":" in (vision.get("timm_model_name") or ""):
        raise ValueError(f"image tower '{vision['timm_model_name']}' would be fetched; name one of timm's")
    vision["timm_model_pretrained"] = False
    custom = config.pop("custom_text", False)
    try:
        return (CustomTextCLIP if custom else CLIP)(**config)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ValueError(f"{files.folder}: the configuration builds no network ({error})") from None


def _read(model: Any, files: Files) -> None:
    """The weights, as tensors alone: safetensors, or a PyTorch file through weights_only."""
    from open_clip.factory import load_checkpoint

    try:
        load_checkpoint(model, str(files.weights), strict=True, weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes the readers raise is its fault
        raise ValueError(f"{files.weights} holds no weights of this network ({on_one_line(error)})") from None


def _tokenizer(files: Files) -> Any:
    """open_clip's own tokenizer, or that of the folder; nothing is fetched from the hub."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    text = files.config["text_cfg"]
    length = text.get("context_length", 77)
    settings = text.get("tokenizer_kwargs") or {}
    if not text.get("hf_tokenizer_name"):
        return SimpleTokenizer(context_length=length, **settings)
    if not (files.folder / "tokenizer_config.json").is_file():
        raise ValueError(
            f"this network's texts need {text['hf_tokenizer_name']}'s tokenizer: put its "
            f"tokenizer.json and tokenizer_config.json into {files.folder}"
        )
    safe = {**settings, "trust_remote_code": False, "local_files_only": True}
    mode = text.get("tokenizer_mode")
    try:
        return HFTokenizer(str(files.folder), context_length=length, tokenizer_mode=mode, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{files.folder} holds no usable tokenizer ({first_line(error, 300)})") from None


def _statistics(files: Files) -> tuple[list[float], list[float]]:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    statistics = files.preprocessing
    return list(statistics.get("mean") or OPENAI_DATASET_MEAN), list(
        statistics.get("std") or OPENAI_DATASET_STD
    )


def _square(image: Image) -> Image:
    """The middle square."""
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, :, top : top + side, left : left + side]
