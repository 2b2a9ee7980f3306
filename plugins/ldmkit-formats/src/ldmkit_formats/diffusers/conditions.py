"""The conditions of a pipeline: which parts it has, and what joins z_t on channels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ldmkit.artifacts import check_inside, read_folder
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, component_of, parameters
from ldmkit.interchange.reading import number, read_json
from ldmkit_formats.diffusers.layout import STYLE, TEXT_STEM
from ldmkit_formats.diffusers.schedulers import read_scheduler
from ldmkit_formats.encoders import copy_encoder, copy_tokenizer


def read_conditions(
    registry: Registry,
    published: Published,
    folder: Path,
    parts: Mapping[str, str],
    network: Mapping[str, Any],
    options: ImportOptions,
) -> None:
    """Adds the conditioners, in the order in which their channels are joined."""
    found: dict[str, Any] = {}
    _text(registry, published, folder, parts, options, found)
    _channels(published, folder, parts, network, found)
    if "low_res" not in found:
        _classes(network, found)
    published.recipe["conditioners"] = found


def _text(
    registry: Registry,
    published: Published,
    folder: Path,
    parts: Mapping[str, str],
    options: ImportOptions,
    found: dict[str, Any],
) -> None:
    """The paper's own text transformer is read into one of ours; a pretrained encoder stays in a folder."""
    if "bert" in parts:
        name = component_of(registry, STYLE, "conditioner", parts["bert"], str(folder / "bert"))
        config = read_json(check_inside(folder, folder / "bert" / "config.json"))
        found["caption"] = parameters(registry, STYLE, name, config)
        published.tensors["conditioners.caption"] = read_folder(folder / "bert", TEXT_STEM)
    elif "text_encoder" in parts:
        tokenizer = options.tokenizer or folder / "tokenizer"
        missing = [str(path) for path in (folder / "text_encoder", tokenizer) if not path.is_dir()]
        if missing:
            raise UserError(f"the pipeline names what is not there: {', '.join(missing)}")
        config = read_json(check_inside(folder, folder / "text_encoder" / "config.json"))
        length = config.get("max_position_embeddings", 77)
        found["caption"] = {"name": "pretrained-text", "length": length, "path": "."}
        published.folders["text_encoder"] = partial(copy_encoder, folder / "text_encoder")
        published.folders["tokenizer"] = partial(copy_tokenizer, tokenizer)


def _channels(
    published: Published,
    folder: Path,
    parts: Mapping[str, str],
    network: Mapping[str, Any],
    found: dict[str, Any],
) -> None:
    """Input channels beside the latent's: a low-resolution picture, or a masked picture and its mask."""
    latent = published.recipe["compression"].get("channels", 3)
    extra = int(number(network, "in_channels", latent)) - latent
    if "low_res_scheduler" in parts:
        found["low_res"] = _noised(folder, parts["low_res_scheduler"], published)
    elif extra == 3 and "text_encoder" not in parts:
        found["low_res"] = {"name": "low-res", "field": "low_res"}
    elif extra == latent + 1 and "text_encoder" in parts:
        found["image"] = {"name": "masked-image", "layout": "stable-diffusion"}
    elif extra:
        raise UserError(f"{folder}: {extra} more input channels than the latent has are not known")


def _noised(folder: Path, name: str, published: Published) -> dict[str, Any]:
    """The low-resolution picture of an upscaler: with noise of a level that the network is told."""
    path = folder / "low_res_scheduler" / "scheduler_config.json"
    config = {"_class_name": name, **read_json(check_inside(folder, path))}
    schedule = read_scheduler(config, 1, 1).recipe["schedule"]
    published.notes.append(
        "low_res: noise of level 20 as in the pipeline; conditioners.low_res.level changes it"
    )
    return {"name": "noised-low-res", "schedule": schedule}


def _classes(network: Mapping[str, Any], found: dict[str, Any]) -> None:
    """Labels of a network that embeds them itself: it is told a one-hot vector."""
    own, adaptive = network.get("num_class_embeds"), network.get("num_embeds_ada_norm")
    if isinstance(adaptive, int):
        classes = {"classes": adaptive + 1, "unconditional": adaptive}
    elif isinstance(own, int):
        classes = {"classes": own}
    else:
        return
    found["label"] = {"name": "class-embedding", "to": "one-hot", **classes}
