"""Which CLIP network a recipe names, and the files that hold it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ldmkit.artifacts import hub_folder
from ldmkit.errors import did_you_mean
from ldmkit.hookspecs import Reads

SHIPPED = Path(__file__).parent / "emoji"
CONFIG = "open_clip_config.json"
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
"""Names of weights in a folder of open_clip's, the preferred first."""
TOKENIZER = ("tokenizer*.json", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model")
"""Files of a tokenizer, which lies beside the weights."""


class Network(BaseModel):
    """A CLIP network by name and place; with none of these, the small one that ldmkit-clip ships.

    path: a folder in open_clip's layout (open_clip_config.json, weights, tokenizer), or a file of weights
    beside `architecture`. architecture: one of open_clip's own, as ViT-B-32. hub, revision: a model on the
    Hugging Face hub in that layout at a commit (40 hex digits), downloaded once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[Path, Field(strict=False), Reads(beside=TOKENIZER)] | None = None
    architecture: str | None = None
    hub: str | None = None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Network:
        if self.hub is not None and self.path is not None:
            raise ValueError("give path or hub, not both")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("hub and revision (the commit, 40 hex digits) go together")
        if self.architecture is not None and self.path is None:
            raise ValueError(f"architecture {self.architecture} needs its weights: a file, by path")
        return self

    @property
    def label(self) -> str:
        """How figures name the network."""
        if self.hub is not None:
            return f"{self.hub}@{str(self.revision)[:7]}"
        if self.architecture is not None:
            return self.architecture
        return "ldmkit-clip-emoji" if self.path is None else self.path.name


class Files(BaseModel):
    """A network's configuration, its weights, and the folder that holds its tokenizer."""

    model_config = ConfigDict(frozen=True)

    config: dict[str, Any]
    preprocessing: dict[str, Any]
    weights: Path
    folder: Path


def files_of(network: Network) -> Files:
    """Where a network's parts are; ValueError says what is missing, and names the nearest architecture."""
    if network.hub is not None:
        return _folder(hub_folder(network.hub, str(network.revision)))
    place = SHIPPED if network.path is None else network.path.expanduser()
    if network.architecture is None:
        return _folder(place)
    config = _architecture(network.architecture)
    if place.is_dir():
        place = _weights(place)
    if not place.is_file():
        raise ValueError(f"no weights at {place}")
    return Files(
        config=config,
        preprocessing=_published_preprocessing(network.architecture),
        weights=place,
        folder=place.parent,
    )


def _folder(folder: Path) -> Files:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} holds no {CONFIG}; for a file of weights name its architecture too")
    try:
        stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, preprocessing = dict(stored["model_cfg"]), dict(stored.get("preprocess_cfg", {}))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG} is no configuration of open_clip's ({error})") from None
    return Files(config=config, preprocessing=preprocessing, weights=_weights(folder), folder=folder)


def _weights(folder: Path) -> Path:
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(f"{folder} holds no weights; expects one of {', '.join(WEIGHTS)}")
    return path


def _architecture(name: str) -> dict[str, Any]:
    import open_clip  # here: it takes seconds to import, and a recipe is checked without it

    config = open_clip.get_model_config(name)
    if config is None:
        near = did_you_mean(name, open_clip.list_models())
        raise ValueError(f"open_clip has no architecture '{name}'{near}")
    return config


def _published_preprocessing(architecture: str) -> Mapping[str, Any]:
    """Mean and standard deviation that all published weights of an architecture share; else CLIP's own."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    configurations = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    shared = {}
    for key in ("mean", "std"):
        values = {tuple(cfg[key]) for cfg in configurations if cfg.get(key)}
        if len(values) == 1:
            shared[key] = values.pop()
    return shared
