"""A system as a Hugging Face folder: an LDM pipeline, or a first stage by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldmkit.checkpoint.files import write_tensors
from ldmkit.disk import write_json
from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interchange.folder import INDEX, STYLE, TEXT_WEIGHTS, WEIGHTS
from ldmkit.interchange.model import Tensors, config_of, published_name, refuse_others, save_part
from ldmkit.interchange.scaling import first_stage_of
from ldmkit.interchange.schedulers import BETAS, OBJECTIVES

PIPELINES = {
    None: "LDMPipeline",
    "low-res": "LDMSuperResolutionPipeline",
    "text-transformer": "LDMTextToImagePipeline",
}
"""The pipeline of each conditioner that the format can hold."""


def write(system: System, out: Path) -> None:
    """Fills the folder `out`; UserError where the format cannot hold the model."""
    if system.denoiser is None:
        _first_stage(system, out)
        return
    pipeline, text = _pipeline(system), _text(system)
    parts = {"vqvae": ["diffusers", _first_stage(system, out / "vqvae")]}  # its name here, whichever it is
    unet = {**config_of(system, "denoiser", STYLE), **_sample_size(system)}
    parts["unet"] = ["diffusers", _component(out / "unet", unet, save_part(system, "denoiser", STYLE))]
    if text is not None:
        bert = _component(out / "bert", config_of(system, text, STYLE), save_part(system, text, STYLE))
        parts["bert"] = ["latent_diffusion", bert]
    parts["scheduler"] = ["diffusers", "DDIMScheduler"]
    _write(out / "scheduler" / "scheduler_config.json", _scheduler(system))
    _write(out / INDEX, {"_class_name": pipeline, **parts})


def _pipeline(system: System) -> str:
    slots = list(system.recipe.conditioners.values())
    if len(slots) > 1:
        raise UserError(f"the {STYLE} format holds one condition, not {len(slots)}")
    name = slots[0].name if slots else None
    if name not in PIPELINES:
        raise UserError(f"conditioner '{name}' cannot be held in the {STYLE} format")
    return PIPELINES[name]


def _text(system: System) -> str | None:
    """The part that reads text."""
    named = system.recipe.conditioners.items()
    return next((f"conditioners.{name}" for name, slot in named if slot.name == "text-transformer"), None)


def _sample_size(system: System) -> dict[str, int]:
    size = system.recipe.sample.size
    return {"sample_size": size[0] // system.compression.latent.factor} if size else {}


def _first_stage(system: System, out: Path) -> str:
    tensors, scale = first_stage_of(system, STYLE)
    return _component(out, {**config_of(system, "compression", STYLE), "scaling_factor": scale}, tensors)


def _component(out: Path, config: Mapping[str, Any], tensors: Tensors) -> str:
    """Writes one sub-folder; the name of its class."""
    _write(out / "config.json", config)
    # A class of transformers' kind has another file name than those of diffusers' own.
    own = "_class_name" in config
    write_tensors(out / (WEIGHTS if own else TEXT_WEIGHTS), tensors)
    name: str = config["_class_name"] if own else config["architectures"][0]
    return name


def _scheduler(system: System) -> dict[str, Any]:
    schedule, objective = system.recipe.schedule, system.recipe.objective
    refuse_others(schedule, "schedule", STYLE, {"clip": 0.999, "offset": 0.008})
    refuse_others(objective, "objective", STYLE, {"variance": "fixed"})
    given = schedule.parameters
    config = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": published_name(BETAS, schedule, "schedule", STYLE),
        "num_train_timesteps": given["steps"],
        "prediction_type": published_name(OBJECTIVES, objective, "objective", STYLE),
        "rescale_betas_zero_snr": given["zero_snr"],
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
    return config | ({"beta_start": given["start"], "beta_end": given["end"]} if "start" in given else {})


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)
