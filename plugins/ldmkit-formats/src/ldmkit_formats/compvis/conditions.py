"""The conditions of a single file: at most one that it holds tensors of, and pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, Tensors, key_map
from ldmkit_formats.compvis import engine
from ldmkit_formats.compvis.config import FORMAT, class_of, conditioner, low_resolution
from ldmkit_formats.compvis.state import CONDITION, belongs_nowhere
from ldmkit_formats.encoders import copy_tokenizer, write_encoder
from ldmkit_formats.guiding import guide

SCALES = {
    "ClassEmbedder": 3.0,
    "BERTEmbedder": 5.0,
    "TransformerEmbedder": 5.0,
    "FrozenCLIPEmbedder": 7.5,
    "FrozenOpenCLIPEmbedder": 9.0,  # Stable Diffusion 2's, in its scripts/txt2img.py
    "GeneralConditioner": 5.0,  # the two encoders of Stable Diffusion XL
}
"""The scale of classifier-free guidance by which the published programs draw, by the condition's class."""


def read_conditions(
    registry: Registry,
    published: Published,
    params: Mapping[str, Any],
    tensors: Tensors,
    options: ImportOptions,
) -> None:
    """Adds the conditioners and their tensors, in the order in which their channels are joined.

    tensors: those below `cond_stage_model.`. Raises UserError where they belong to no conditioner.
    """
    main = conditioner(registry, params)
    if main is None:
        if tensors:
            raise belongs_nowhere(CONDITION + name for name in tensors)
        return
    conditioners = published.recipe["conditioners"]
    keys = key_map(registry, FORMAT, main["name"])
    name = getattr(keys, "condition", main["name"])
    conditioners[name] = main
    if hasattr(keys, "encoders"):
        main["path"] = "."
        _encoders(published, keys, params["cond_stage_config"], tensors, options)
    else:
        published.tensors[f"conditioners.{name}"] = tensors
    if (sizes := engine.sizes(params["cond_stage_config"])) is not None:
        conditioners["size"] = sizes
    _pictures(conditioners, params, main["name"])
    section = params["cond_stage_config"]
    scale = SCALES.get(class_of(section)) if isinstance(section, Mapping) else None
    if scale is not None and _has_null(main):
        guide(published, scale, "as the published program draws by default")


def _has_null(main: Mapping[str, Any]) -> bool:
    """Whether guidance has something to steer away from: an empty text, or a class that stands for any."""
    if main["name"] == "class-embedding":
        return main.get("unconditional") is not None
    return main["name"] != "text-transformer" or main.get("tokenizer", "bert") == "bert"


def _pictures(conditioners: dict[str, Any], params: Mapping[str, Any], main: str) -> None:
    """Adds the pictures that stand beside the main condition: an upscaler's, or that of inpainting."""
    if (small := low_resolution(params)) is not None:
        conditioners["low_res"] = small
    if main != "masked-image" and params.get("conditioning_key") == "hybrid":
        conditioners["image"] = {"name": "masked-image", "layout": "stable-diffusion"}


def _encoders(
    published: Published, keys: Any, section: Mapping[str, Any], tensors: Tensors, options: ImportOptions
) -> None:
    """Text encoders that transformers computes, in folders of their own beside their tokenizers'."""
    try:
        encoders = keys.encoders(tensors, section.get("params") or {})
    except ValueError as error:
        raise UserError(f"{class_of(section)}: the weights do not fit the configuration: {error}") from error
    for name, encoder in encoders.items():
        published.notes += encoder.notes
        published.folders[name] = partial(write_encoder, encoder.config, encoder.tensors)
    names = [name.replace("text_encoder", "tokenizer") for name in encoders]
    given, several = options.tokenizer, len(names) > 1
    if given is None or (several and not all((given / name).is_dir() for name in names)):
        raise UserError(
            f"{class_of(section)} reads text with {keys.tokenizer}, which no single file holds: name a "
            f"folder that has {keys.tokenizer_files} by --tokenizer"
        )
    for name in names:
        published.folders[name] = partial(copy_tokenizer, given / name if several else given)
