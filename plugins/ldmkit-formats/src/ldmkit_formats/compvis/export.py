"""A system as the paper's single file: `model.ckpt` beside `config.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from ldmkit import System
from ldmkit.errors import UserError
from ldmkit.interchange.model import (
    Tensors,
    class_of,
    config_of,
    key_map,
    published_name,
    refuse_others,
    save_part,
)
from ldmkit.interchange.scaling import first_stage_of
from ldmkit.recipe import Component
from ldmkit_formats.compvis.config import FIRST_STAGE, FORMAT, OBJECTIVES, SCHEDULES, UNCONDITIONAL
from ldmkit_formats.compvis.state import CONDITION, FIRST, NETWORK


def write(system: System, out: Path) -> list[str]:
    """Fills the folder `out`; returns a line for each thing that the format holds in another form.

    Raises UserError where the format cannot hold the model.
    """
    first, scale, _ = first_stage_of(system, FORMAT)
    if system.denoiser is None:
        model, state = _section(system, "compression"), first
    else:
        model, state = _model(system, scale), _state(system, first, scale)
    torch.save({"state_dict": {k: v.detach().cpu().clone() for k, v in state.items()}}, out / "model.ckpt")
    (out / "config.yaml").write_text(yaml.safe_dump({"model": model}, sort_keys=False), encoding="utf-8")
    slots = [(name, key_map(system.registry, FORMAT, slot.name)) for name, slot in _conditioners(system)]
    parts = [(getattr(keys, "notes", None), system.conditioners[name]) for name, keys in slots]
    return [line for notes, module in parts if notes is not None for line in notes(module)]


def _conditioners(system: System) -> list[tuple[str, Component]]:
    return [] if system.denoiser is None else [*system.recipe.conditioners.items()]


def _model(system: System, scale: float) -> dict[str, Any]:
    params: dict[str, Any] = {
        **_schedule(system),
        "channels": system.compression.latent.channels,
        "scale_factor": scale,
        "unet_config": _section(system, "denoiser"),
        "first_stage_config": _section(system, "compression"),
        **_condition(system),
    }
    if system.size and system.size[0] == system.size[1]:
        params["image_size"] = system.size[0] // system.compression.latent.factor
    return {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}


def _schedule(system: System) -> dict[str, Any]:
    """The entries of schedule and objective."""
    schedule, objective = system.recipe.schedule, system.recipe.objective
    values: dict[str, Any] = {
        "beta_schedule": published_name(SCHEDULES, schedule, "schedule", FORMAT),
        "parameterization": published_name(OBJECTIVES, objective, "objective", FORMAT),
        "timesteps": schedule.parameters["steps"],
        "loss_type": objective.parameters["loss"],
    }
    refuse_others(schedule, "schedule", FORMAT, {"zero_snr": False, "clip": 0.999})
    refuse_others(objective, "objective", FORMAT, {"variance": "fixed"})
    renamed = {"start": "linear_start", "end": "linear_end", "offset": "cosine_s"}
    return values | {
        theirs: schedule.parameters[ours] for ours, theirs in renamed.items() if ours in schedule.parameters
    }


def _section(system: System, part: str) -> dict[str, Any]:
    """The section of a part: its class and its parameters."""
    config = config_of(system, part, FORMAT)
    return {"target": class_of(system, part, FORMAT), **({"params": config} if config else {})}


def _condition(system: System) -> dict[str, Any]:
    """The one condition that the format can hold."""
    slots = system.recipe.conditioners
    if not slots:
        return {"cond_stage_config": UNCONDITIONAL}
    if len(slots) > 1:
        raise UserError(f"the {FORMAT} format holds one condition, not {len(slots)}")
    part = f"conditioners.{next(iter(slots))}"
    spec: Any = system.get_submodule(part).spec
    keys: Any = key_map(system.registry, FORMAT, next(iter(slots.values())).name)
    own = getattr(keys, "section", None)  # of a component that is several classes there
    section: Any = _section(system, part) if own is None else own(system.get_submodule(part))
    return {
        "conditioning_key": "crossattn" if spec.tokens else "concat",
        "cond_stage_config": section["target"] if section["target"] == FIRST_STAGE else section,
    }


def _state(system: System, first: Tensors, scale: float) -> Tensors:
    parts = {FIRST: first, NETWORK: save_part(system, "denoiser", FORMAT)}
    for name in system.recipe.conditioners:
        parts[CONDITION] = save_part(system, f"conditioners.{name}", FORMAT)
    state = {f"{prefix}{key}": x for prefix, tensors in parts.items() for key, x in tensors.items()}
    return state | {"scale_factor": torch.tensor(scale)}
