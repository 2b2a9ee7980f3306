"""The conditions of a pipeline: which parts it has, and what joins z_t on channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ldmkit.artifacts import check_inside, read_folder
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, component_of, parameters
from ldmkit.interchange.reading import number, read_json
from ldmkit_formats.diffusers.layout import FORMAT, TEXT_STEM
from ldmkit_formats.diffusers.schedulers import read_scheduler
from ldmkit_formats.encoders import caption_length, copy_encoder, copy_tokenizer


@dataclass(frozen=True)
class Pipeline:
    """A pipeline's index, the class of each part in it, and its denoiser's configuration."""

    index: Mapping[str, Any]
    parts: Mapping[str, str]
    network: Mapping[str, Any]


def read_conditions(
    registry: Registry, published: Published, folder: Path, pipeline: Pipeline, options: ImportOptions
) -> None:
    """Adds the conditioners, in the order in which their channels and vectors are joined."""
    conditioners: dict[str, Any] = {}
    published.recipe["conditioners"] = conditioners
    if "bert" in pipeline.parts:
        _bert(registry, published, folder, pipeline.parts)
    elif "text_encoder_2" in pipeline.parts:
        _paired(published, folder, pipeline, options)
    elif "text_encoder" in pipeline.parts:
        _text(published, folder, options)
    _channels(published, folder, pipeline.parts, pipeline.network, conditioners)
    if "low_res" not in conditioners:
        _classes(pipeline.network, conditioners)


def _bert(registry: Registry, published: Published, folder: Path, parts: Mapping[str, str]) -> None:
    """The paper's own text transformer, which is read into one of ours."""
    name = component_of(registry, FORMAT, "conditioner", parts["bert"], str(folder / "bert"))
    config = read_json(check_inside(folder, folder / "bert" / "config.json"))
    published.recipe["conditioners"]["caption"] = parameters(registry, FORMAT, name, config)
    published.tensors["conditioners.caption"] = read_folder(folder / "bert", TEXT_STEM)


def _text(published: Published, folder: Path, options: ImportOptions) -> None:
    """A pretrained text encoder, which stays in a folder."""
    sources = {
        "text_encoder": folder / "text_encoder",
        "tokenizer": options.tokenizer or folder / "tokenizer",
    }
    length = _copied(published, folder, sources)
    published.recipe["conditioners"]["caption"] = {"name": "pretrained-text", "length": length, "path": "."}


def _paired(published: Published, folder: Path, pipeline: Pipeline, options: ImportOptions) -> None:
    """Two encoders side by side, and the sizes that such a network is told."""
    if "text_encoder" not in pipeline.parts or pipeline.index.get("requires_aesthetics_score"):
        raise UserError(
            f"{folder}: a refiner, which reads one text encoder of two and a score, is no pipeline that a "
            "recipe can hold"
        )
    if options.tokenizer is not None:
        raise UserError(f"{folder} has two tokenizers of its own: leave out --tokenizer")
    names = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    length = _copied(published, folder, {name: folder / name for name in names})
    null = "zeros" if pipeline.index.get("force_zeros_for_empty_prompt", True) else "empty"
    conditioners = published.recipe["conditioners"]
    conditioners["caption"] = {"name": "paired-text", "length": length, "null": null, "path": "."}
    if pipeline.network.get("addition_embed_type") == "text_time":
        width = int(number(pipeline.network, "addition_time_embed_dim", 256))
        conditioners["size"] = {"name": "size-embedding", "width": width}


def _copied(published: Published, folder: Path, sources: Mapping[str, Path]) -> int:
    """Has folders copied into the new one; the length of a caption. UserError for one that is not there."""
    missing = [str(path) for path in sources.values() if not path.is_dir()]
    if missing:
        raise UserError(f"the pipeline names what is not there: {', '.join(missing)}")
    for name, source in sources.items():
        copy = copy_tokenizer if name.startswith("tokenizer") else copy_encoder
        published.folders[name] = partial(copy, source)
    config = read_json(check_inside(folder, folder / "text_encoder" / "config.json"))
    most = int(number(config, "max_position_embeddings", 77))
    return min(most, caption_length(sources["tokenizer"]) or most)


def _channels(
    published: Published,
    folder: Path,
    parts: Mapping[str, str],
    network: Mapping[str, Any],
    conditioners: dict[str, Any],
) -> None:
    """Input channels beside the latent's: a low-resolution picture, or a masked picture and its mask."""
    latent = published.recipe["compression"].get("channels", 3)
    extra = int(number(network, "in_channels", latent)) - latent
    if "low_res_scheduler" in parts:
        conditioners["low_res"] = _noised(folder, parts["low_res_scheduler"], published)
    elif extra == 3 and "text_encoder" not in parts:
        conditioners["low_res"] = {"name": "low-res", "field": "low_res"}
    elif extra == latent + 1 and "text_encoder" in parts:
        conditioners["image"] = {"name": "masked-image", "layout": "stable-diffusion"}
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


def _classes(network: Mapping[str, Any], conditioners: dict[str, Any]) -> None:
    """Labels of a network that embeds them itself: it is told a one-hot vector."""
    own, adaptive = network.get("num_class_embeds"), network.get("num_embeds_ada_norm")
    if isinstance(adaptive, int):
        classes = {"classes": adaptive + 1, "unconditional": adaptive}
    elif isinstance(own, int):
        classes = {"classes": own}
    else:
        return
    conditioners["label"] = {"name": "class-embedding", "to": "one-hot", **classes}
