"""A system as the paper's single file: `model.ckpt` beside `config.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from ldmkit.engine.system import System
from ldmkit.errors import UserError
from ldmkit.interchange import compvis
from ldmkit.interchange.compvis_config import OBJECTIVES, SCHEDULES, STYLE
from ldmkit.interchange.model import Tensors, config_of, published_name, refuse_others, save_part
from ldmkit.interchange.scaling import first_stage_of

CLASSES = {
    "kl-autoencoder": "ldm.models.autoencoder.AutoencoderKL",
    "vq-autoencoder": "ldm.models.autoencoder.VQModelInterface",
    "text-transformer": "ldm.modules.encoders.modules.BERTEmbedder",
    "class-embedding": "ldm.modules.encoders.modules.ClassEmbedder",
    "spatial-rescaler": "ldm.modules.encoders.modules.SpatialRescaler",
}
"""The published classes, named as their code names them."""
WITHOUT_TENSORS = {"masked-image": "__is_first_stage__", "low-res": {"target": "torch.nn.Identity"}}
"""`cond_stage_config` of conditioners that bring no tensors of their own."""


def write(system: System, out: Path) -> None:
    """Fills the folder `out`; UserError where the format cannot hold the model."""
    first, scale = first_stage_of(system, STYLE)
    if system.denoiser is None:
        model, state = _first_stage(system), first
    else:
        model, state = _model(system, scale), _state(system, first, scale)
    torch.save({"state_dict": {k: v.detach().cpu().clone() for k, v in state.items()}}, out / "model.ckpt")
    (out / "config.yaml").write_text(yaml.safe_dump({"model": model}, sort_keys=False), encoding="utf-8")


def _model(system: System, scale: float) -> dict[str, Any]:
    recipe = system.recipe
    params: dict[str, Any] = {
        **_schedule(system),
        "channels": system.compression.latent.channels,
        "scale_factor": scale,
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": config_of(system, "denoiser", STYLE),
        },
        "first_stage_config": _first_stage(system),
        **_condition(system),
    }
    if recipe.sample.size:
        params["image_size"] = recipe.sample.size[0] // system.compression.latent.factor
    return {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}


def _schedule(system: System) -> dict[str, Any]:
    """Schedule and objective."""
    schedule, objective = system.recipe.schedule, system.recipe.objective
    made: dict[str, Any] = {
        "beta_schedule": published_name(SCHEDULES, schedule, "schedule", STYLE),
        "parameterization": published_name(OBJECTIVES, objective, "objective", STYLE),
        "timesteps": schedule.parameters["steps"],
        "loss_type": objective.parameters["loss"],
    }
    refuse_others(schedule, "schedule", STYLE, {"zero_snr": False, "clip": 0.999})
    refuse_others(objective, "objective", STYLE, {"variance": "fixed"})
    renamed = {"start": "linear_start", "end": "linear_end", "offset": "cosine_s"}
    return made | {
        theirs: schedule.parameters[ours] for ours, theirs in renamed.items() if ours in schedule.parameters
    }


def _first_stage(system: System) -> dict[str, Any]:
    name = system.recipe.compression.name
    if name == "identity":
        return {"target": "ldm.models.autoencoder.IdentityFirstStage"}
    config = config_of(system, "compression", STYLE)
    return {"target": CLASSES[name], "params": config}


def _condition(system: System) -> dict[str, Any]:
    """The one condition that the format can hold."""
    slots = list(system.recipe.conditioners.items())
    if not slots:
        return {"cond_stage_config": "__is_unconditional__"}
    if len(slots) > 1:
        raise UserError(f"the {STYLE} format holds one condition, not {len(slots)}")
    name, slot = slots[0]
    spec: Any = system.get_submodule(f"conditioners.{name}").spec
    way = {"conditioning_key": "crossattn" if spec.tokens else "concat"}
    if slot.name in WITHOUT_TENSORS:
        return {**way, "cond_stage_config": WITHOUT_TENSORS[slot.name]}
    config = config_of(system, f"conditioners.{name}", STYLE)
    return {**way, "cond_stage_config": {"target": CLASSES[slot.name], "params": config}}


def _state(system: System, first: Tensors, scale: float) -> Tensors:
    parts = {compvis.FIRST: first, compvis.NETWORK: save_part(system, "denoiser", STYLE)}
    for name, slot in system.recipe.conditioners.items():
        if slot.name not in WITHOUT_TENSORS:
            parts[compvis.CONDITION] = save_part(system, f"conditioners.{name}", STYLE)
    state = {f"{prefix}{key}": x for prefix, tensors in parts.items() for key, x in tensors.items()}
    return state | {"scale_factor": torch.tensor(scale)}
