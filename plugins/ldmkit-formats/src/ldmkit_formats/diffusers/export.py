"""A system as a Hugging Face folder: a pipeline, or a first stage by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ldmkit import System
from ldmkit.artifacts import write_tensors
from ldmkit.disk import write_json
from ldmkit.errors import UserError
from ldmkit.interchange.model import (
    Tensors,
    class_of,
    config_of,
    key_map,
    refuse_others,
    save_part,
    slot_of,
)
from ldmkit.interchange.scaling import first_stage_of
from ldmkit_formats.diffusers.layout import FORMAT, GUIDANCE, INDEX, STEM, TEXT_STEM, VERSION
from ldmkit_formats.diffusers.schedulers.writing import write_scheduler

LATENT_DIFFUSION = {
    (): "LDMPipeline",
    ("low-res",): "LDMSuperResolutionPipeline",
    ("text-transformer",): "LDMTextToImagePipeline",
}
STABLE_DIFFUSION = {
    ("pretrained-text",): "StableDiffusionPipeline",
    ("pretrained-text", "masked-image"): "StableDiffusionInpaintPipeline",
}
LARGE = {
    ("paired-text", "size-embedding"): "StableDiffusionXLPipeline",
    ("paired-text", "size-embedding", "masked-image"): "StableDiffusionXLInpaintPipeline",
}
PIXELS = {(): "DDIMPipeline"}
CLASSES = {("class-embedding",): "DiTPipeline"}
"""The pipeline of each set of conditioners that the format can hold."""


def write(system: System, out: Path) -> list[str]:
    """Fills the folder `out`; returns a line for each thing that the format holds in another form.

    Raises UserError where the format cannot hold the model.
    """
    if system.denoiser is None:
        _first_stage(system, out)
        return []
    pipeline, first = _pipeline(system)
    parts: dict[str, Any] = {}
    if first is not None:
        parts[first] = ["diffusers", _first_stage(system, out / first)]
    network = {**config_of(system, "denoiser", FORMAT), **_sample_size(system), **_size_width(system)}
    place = "transformer" if pipeline in CLASSES.values() else "unet"
    parts[place] = ["diffusers", _component(out / place, network, save_part(system, "denoiser", FORMAT))]
    for name in system.recipe.conditioners:
        parts |= _condition(system, f"conditioners.{name}", out)
    notes = [*_scheduler(system, parts, out), *_guidance(system, pipeline)]
    if pipeline in STABLE_DIFFUSION.values():
        parts |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
        parts["requires_safety_checker"] = False
    _write(out / INDEX, {"_class_name": pipeline, "_diffusers_version": VERSION, **parts})
    return notes


def _pipeline(system: System) -> tuple[str, str | None]:
    """The pipeline's class, and its name for the first stage where it has one."""
    slots = tuple(slot.name for slot in system.recipe.conditioners.values())
    if system.recipe.compression.name == "identity" and slots in PIXELS:
        return PIXELS[slots], None
    if slots in CLASSES and _is_transformer(system):
        return CLASSES[slots], "vae"
    if slots in STABLE_DIFFUSION | LARGE:
        return (STABLE_DIFFUSION | LARGE)[slots], "vae"
    if slots in LATENT_DIFFUSION:
        return LATENT_DIFFUSION[slots], "vqvae"  # its name there, whichever it is
    if len(slots) > 1:
        raise UserError(f"the {FORMAT} format holds one condition, not {len(slots)}: {', '.join(slots)}")
    raise UserError(f"conditioner '{slots[0]}' cannot be held in the {FORMAT} format")


def _is_transformer(system: System) -> bool:
    """Whether the denoiser's class is one that embeds labels itself, in a folder `transformer`."""
    name = slot_of(system, "denoiser").name
    keys = f"{FORMAT}/{name}" in system.registry.names("keymap")
    return keys and class_of(system, "denoiser", FORMAT).endswith("Transformer2DModel")


def _condition(system: System, part: str, out: Path) -> dict[str, Any]:
    """Writes a conditioner's folders; returns their entries in the index."""
    if slot_of(system, part).parameters.get("to") == "one-hot":
        return {}  # the network embeds it
    keys: Any = key_map(system.registry, FORMAT, slot_of(system, part).name)
    if hasattr(keys, "write_folders"):
        entries: dict[str, Any] = keys.write_folders(system.get_submodule(part), out)
        return entries
    config = config_of(system, part, FORMAT)
    if not config:
        return {}
    return {"bert": ["latent_diffusion", _component(out / "bert", config, save_part(system, part, FORMAT))]}


def _sample_size(system: System) -> dict[str, Any]:
    """The latent's side, or its height and width, where the recipe or its data say the pictures' size."""
    if system.size is None:
        return {}
    height, width = (side // system.compression.latent.factor for side in system.size)
    return {"sample_size": height if height == width else [height, width]}


def _size_width(system: System) -> dict[str, int]:
    """The width at which the network is told sizes, which stands in its configuration there."""
    slots = [slot for slot in system.recipe.conditioners.values() if slot.name == "size-embedding"]
    return {"addition_time_embed_dim": slots[0].parameters["width"]} if slots else {}


def _first_stage(system: System, out: Path) -> str:
    config = config_of(system, "compression", FORMAT)
    shifts = "shift_factor" in config
    tensors, scale, shift = first_stage_of(system, FORMAT, shift=shifts)
    held = {"scaling_factor": scale, **({"shift_factor": shift or None} if shifts else {})}
    return _component(out, {**config, **held}, tensors)


def _component(out: Path, config: Mapping[str, Any], tensors: Tensors) -> str:
    """Writes one sub-folder; returns the name of its class."""
    _write(out / "config.json", config)
    # A class of transformers' kind has another file name than those of diffusers' own.
    own = "_class_name" in config
    write_tensors(out / f"{STEM if own else TEXT_STEM}.safetensors", tensors)
    name: str = config["_class_name"] if own else config["architectures"][0]
    return name


def _scheduler(system: System, parts: dict[str, Any], out: Path) -> list[str]:
    """Writes the scheduler and adds its entry of the index; a line where it is not the recipe's sampler."""
    if not _is_transformer(system):  # those are known to learn it by their channels
        refuse_others(system.recipe.objective, "objective", FORMAT, {"variance": "fixed"})
    config, notes = write_scheduler(system.recipe, system.registry)
    parts["scheduler"] = ["diffusers", config["_class_name"]]
    _write(out / "scheduler" / "scheduler_config.json", config)
    return notes


def _guidance(system: System, pipeline: str) -> Iterator[str]:
    """A line where the pipeline draws with another scale unless it is told this one."""
    default = GUIDANCE.get(pipeline, 1.0)
    for guide in system.recipe.guidance:
        if (scale := guide.parameters.get("scale", default)) != default:
            yield f"guidance: {pipeline} draws with {default:g} by default: tell it guidance_scale={scale:g}"


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)
