"""`ldmkit export`: a trained or imported model in a published format."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from ldmkit.checkpoint.files import write_tensors
from ldmkit.errors import UserError
from ldmkit.interchange import compvis, folder
from ldmkit.interchange.model import Tensors, key_map, save_part
from ldmkit.system import System

Write = Callable[[System, Path], None]
MODULES = {
    "kl-autoencoder": "ldm.models.autoencoder.AutoencoderKL",
    "vq-autoencoder": "ldm.models.autoencoder.VQModelInterface",
    "text-transformer": "ldm.modules.encoders.modules.BERTEmbedder",
    "class-embedding": "ldm.modules.encoders.modules.ClassEmbedder",
    "spatial-rescaler": "ldm.modules.encoders.modules.SpatialRescaler",
}
"""The published classes, named as their code names them."""


def export_model(system: System, out: Path, style: str) -> None:
    """Writes the system to the new folder `out`: "compvis" (model.ckpt and config.yaml) or "diffusers".

    Raises UserError, and writes nothing, where the format cannot hold the model or `out` is not empty.
    """
    if style not in FORMATS:
        raise UserError(f"unknown format '{style}': {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty: choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:
        made = Path(aside) / "model"
        made.mkdir()
        FORMATS[style](system, made)
        if out.exists():
            out.rmdir()
        made.replace(out)


def _config(system: System, part: str, style: str) -> dict[str, Any]:
    """The published configuration of a part."""
    recipe, name = system.recipe, part.removeprefix("conditioners.")
    slot = recipe.conditioners[name] if name != part else getattr(recipe, part)
    given = dict(slot.parameters)
    if part == "denoiser":
        network: Any = system.network
        supplied = {"latent": network.latent, "conditions": network.conditions}
        given |= {**supplied, "out_channels": system.objective.out_channels(network.latent.channels)}
    try:
        return key_map(system.registry, style, slot.name).config(given)
    except ValueError as error:
        raise UserError(f"{part} ({slot.name}) cannot be held in the {style} format: {error}") from error


def _scale(system: System) -> float:
    """The latent's one scale; UserError where it has one a channel, which no published format holds."""
    scale, shift = system.compression.scale, system.compression.shift
    if bool((shift != 0).any()) or bool((scale != scale[0]).any()):
        raise UserError(
            "the latent is scaled and shifted by channel; published formats hold one scale and no shift"
        )
    return float(scale[0])


def _reverse(table: Mapping[str, str], name: str, what: str) -> str:
    """Their name for one of ours."""
    for theirs, ours in table.items():
        if ours == name:
            return theirs
    raise UserError(f"{what} '{name}' has no counterpart in that format")


def _single_file(system: System, out: Path) -> None:
    """The paper's format."""
    if system.denoiser is None:
        _scale(system)
        model = {
            "target": MODULES[system.recipe.compression.name],
            "params": _config(system, "compression", "compvis"),
        }
        state = save_part(system, "compression", "compvis")
    else:
        model, state = _whole(system)
    torch.save({"state_dict": {k: v.detach().cpu().clone() for k, v in state.items()}}, out / "model.ckpt")
    (out / "config.yaml").write_text(yaml.safe_dump({"model": model}, sort_keys=False), encoding="utf-8")


def _whole(system: System) -> tuple[dict[str, Any], Tensors]:
    recipe, scale = system.recipe, _scale(system)
    schedule, factor = recipe.schedule.parameters, system.compression.latent.factor
    params: dict[str, Any] = {
        "beta_schedule": _reverse(compvis.SCHEDULES, recipe.schedule.name, "schedule"),
        "timesteps": schedule["steps"],
        "parameterization": _reverse(compvis.OBJECTIVES, recipe.objective.name, "objective"),
        "loss_type": recipe.objective.parameters["loss"],
        "channels": system.compression.latent.channels,
        "scale_factor": scale,
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": _config(system, "denoiser", "compvis"),
        },
        "first_stage_config": _first_stage(system),
        **_condition(system),
    }
    if "start" in schedule:
        params |= {"linear_start": schedule["start"], "linear_end": schedule["end"]}
    if recipe.sample.size:
        params["image_size"] = recipe.sample.size[0] // factor
    model = {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}
    return model, _state(system, scale)


def _first_stage(system: System) -> dict[str, Any]:
    name = system.recipe.compression.name
    if name == "identity":
        return {"target": "ldm.models.autoencoder.IdentityFirstStage"}
    return {"target": MODULES[name], "params": _config(system, "compression", "compvis")}


def _condition(system: System) -> dict[str, Any]:
    """The one condition that the format can hold."""
    slots = list(system.recipe.conditioners.items())
    if not slots:
        return {"cond_stage_config": "__is_unconditional__"}
    if len(slots) > 1:
        raise UserError(f"that format holds one condition, not {len(slots)}")
    name, slot = slots[0]
    way = "crossattn" if system.network.conditions.tokens else "concat"  # type: ignore[attr-defined]
    if slot.name == "masked-image":
        return {"cond_stage_config": "__is_first_stage__", "conditioning_key": way}
    if slot.name == "low-res":
        return {"cond_stage_config": {"target": "torch.nn.Identity"}, "conditioning_key": way}
    if slot.name not in MODULES:
        raise UserError(f"conditioner '{slot.name}' has no counterpart in that format")
    config = {"target": MODULES[slot.name], "params": _config(system, f"conditioners.{name}", "compvis")}
    return {"cond_stage_config": config, "conditioning_key": way}


def _state(system: System, scale: float) -> Tensors:
    parts = {compvis.NETWORK: "denoiser"}
    if system.recipe.compression.name != "identity":
        parts[compvis.FIRST] = "compression"
    for name, slot in system.recipe.conditioners.items():
        if slot.name in MODULES:
            parts[compvis.CONDITION] = f"conditioners.{name}"
    state = {
        f"{prefix}{key}": tensor
        for prefix, part in parts.items()
        for key, tensor in save_part(system, part, "compvis").items()
    }
    return state | {"scale_factor": torch.tensor(scale)}


def _folder(system: System, out: Path) -> None:
    """The Hugging Face layout; a compression model alone is a folder of its own."""
    scaling = {"scaling_factor": _scale(system)}
    if system.denoiser is None:
        _component(system, out, "compression", scaling)
        return
    first = "vae" if system.recipe.compression.name == "kl-autoencoder" else "vqvae"
    classes = {first: _component(system, out / first, "compression", scaling)}
    classes["unet"] = _component(system, out / "unet", "denoiser", {})
    for name, slot in system.recipe.conditioners.items():
        if slot.name == "text-transformer":
            classes["bert"] = _component(system, out / "bert", f"conditioners.{name}", {})
        elif slot.name != "low-res":
            raise UserError(f"conditioner '{slot.name}' cannot be held in the diffusers format")
    _write_json(out / "scheduler" / "scheduler_config.json", _scheduler(system))
    index: dict[str, Any] = {name: ["diffusers", kind] for name, kind in classes.items()}
    pipeline = "LDMTextToImagePipeline" if "bert" in classes else "LDMPipeline"
    pipeline = (
        "LDMSuperResolutionPipeline" if system.recipe.conditioners and "bert" not in classes else pipeline
    )
    _write_json(
        out / folder.INDEX, {"_class_name": pipeline, **index, "scheduler": ["diffusers", "DDIMScheduler"]}
    )


def _component(system: System, out: Path, part: str, more: Mapping[str, Any]) -> str:
    """Writes one sub-folder; the name of its class."""
    config = {**_config(system, part, "diffusers"), **more}
    if part == "denoiser" and system.recipe.sample.size:
        config["sample_size"] = system.recipe.sample.size[0] // system.compression.latent.factor
    _write_json(out / "config.json", config)
    write_tensors(out / folder.WEIGHTS, save_part(system, part, "diffusers"))
    return config.get("_class_name") or config["architectures"][0]


def _scheduler(system: System) -> dict[str, Any]:
    recipe = system.recipe
    given = recipe.schedule.parameters
    config = {
        "_class_name": "DDIMScheduler",
        "beta_schedule": _reverse(folder.BETAS, recipe.schedule.name, "schedule"),
        "num_train_timesteps": given["steps"],
        "prediction_type": _reverse(folder.OBJECTIVES, recipe.objective.name, "objective"),
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
    return config | ({"beta_start": given["start"], "beta_end": given["end"]} if "start" in given else {})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


FORMATS: Mapping[str, Write] = {"compvis": _single_file, "diffusers": _folder}
"""What `export` can write."""
