"""The Hugging Face folder: `model_index.json` and a sub-folder a component, or one component by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldmkit.artifacts import read_folder
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import Published, parameters
from ldmkit.interchange.reading import number, read_json
from ldmkit.interchange.schedulers import read_scheduler

STYLE = "diffusers"
INDEX = "model_index.json"
STEM, TEXT_STEM = "diffusion_pytorch_model", "model"
WEIGHTS, TEXT_WEIGHTS = f"{STEM}.safetensors", f"{TEXT_STEM}.safetensors"
FIRST_STAGES = {"AutoencoderKL": "kl-autoencoder", "VQModel": "vq-autoencoder"}
NETWORKS = ("UNet2DConditionModel", "UNet2DModel")
SCALING = 0.18215
"""The scaling_factor of both first stages where their configuration is silent."""
UNUSED = {"safety_checker", "feature_extractor", "image_encoder"}
"""Parts of published pipelines that make no picture."""


def read(registry: Registry, folder: Path) -> Published:
    """A pipeline, or a first stage by itself, taken apart."""
    if (folder / INDEX).exists():
        return _pipeline(registry, folder, read_json(folder / INDEX))
    config = read_json(folder / "config.json")
    return _first_stage(registry, folder, config)


def _pipeline(registry: Registry, folder: Path, index: Mapping[str, Any]) -> Published:
    parts = {k: v[1] for k, v in index.items() if isinstance(v, list) and len(v) == 2 and v[1]}
    known = {"vae", "vqvae", "unet", "bert", "text_encoder", "tokenizer", "scheduler", *UNUSED}
    if set(parts) - known or "unet" not in parts or "scheduler" not in parts:
        raise UserError(f"{folder / INDEX}: {index.get('_class_name')} is no pipeline that a recipe can hold")
    first = folder / ("vae" if "vae" in parts else "vqvae")
    published = _first_stage(registry, first, read_json(first / "config.json"))
    _network(registry, published, folder / "unet")
    _text(registry, published, folder, parts)
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    scheduler.setdefault("_class_name", parts["scheduler"])
    _scheduler(published, scheduler, read_json(folder / "unet" / "config.json"))
    aside = sorted(UNUSED & set(parts))
    published.notes += (
        [f"left aside {', '.join(aside)}: no part of the model that makes pictures"] if aside else []
    )
    return published


def _first_stage(registry: Registry, folder: Path, config: Mapping[str, Any]) -> Published:
    name = config.get("_class_name")
    if name not in FIRST_STAGES:
        raise UserError(f"{folder}: first stage '{name}' is not known: {', '.join(FIRST_STAGES)}")
    slot = parameters(registry, STYLE, FIRST_STAGES[name], config)
    scale, shift = number(config, "scaling_factor", SCALING), number(config, "shift_factor", 0.0)
    return Published({"compression": slot}, {"compression": read_folder(folder, STEM)}, scale, shift)


def _network(registry: Registry, published: Published, folder: Path) -> None:
    config = read_json(folder / "config.json")
    if config.get("_class_name") not in NETWORKS:
        raise UserError(
            f"{folder}: denoiser '{config.get('_class_name')}' is not known: {', '.join(NETWORKS)}"
        )
    published.recipe["denoiser"] = parameters(registry, STYLE, "unet", config)
    published.tensors["denoiser"] = read_folder(folder, STEM)
    if isinstance(config.get("sample_size"), int):
        size = config["sample_size"] * published.recipe["compression"].get("factor", 1)
        published.recipe["sample"] = {"size": [size, size]}
    channels = number(config, "out_channels", 0)
    extra = int(number(config, "in_channels", channels) - channels)
    if extra == 3 and config["_class_name"] == "UNet2DModel":
        published.recipe["conditioners"] = {"low_res": {"name": "low-res", "field": "low_res"}}
    elif extra:
        raise UserError(f"{folder}: {extra} more input than output channels are not known")


def _text(registry: Registry, published: Published, folder: Path, parts: Mapping[str, str]) -> None:
    """The paper's own text transformer is read into one of ours; a pretrained encoder stays in its folder."""
    if parts.get("bert") == "LDMBertModel":
        slot = parameters(registry, STYLE, "text-transformer", read_json(folder / "bert" / "config.json"))
        published.recipe["conditioners"] = {"caption": slot}
        published.tensors["conditioners.caption"] = read_folder(folder / "bert", TEXT_STEM)
    elif "text_encoder" in parts:
        published.folders = {name: folder / name for name in ("text_encoder", "tokenizer")}
        missing = [str(path) for path in published.folders.values() if not path.is_dir()]
        if missing:
            raise UserError(f"{folder / INDEX} names what is not there: {', '.join(missing)}")
        # `path` is completed by the importer, which knows the output folder.
        length = read_json(folder / "text_encoder" / "config.json").get("max_position_embeddings", 77)
        published.recipe["conditioners"] = {"caption": {"name": "pretrained-text", "length": length}}


def _scheduler(published: Published, config: Mapping[str, Any], network: Mapping[str, Any]) -> None:
    out = int(number(network, "out_channels", 0))
    reading = read_scheduler(config, out, published.recipe["compression"].get("channels", 3))
    published.recipe |= reading.recipe
    published.notes += reading.notes
