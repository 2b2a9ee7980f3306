"""The published single file's configuration.

It names Python classes; here a class name is looked up among the key maps and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import component_of, parameters
from ldmkit.keymaps import check_entries, short

FORMAT = "compvis"
MODELS = ("LatentDiffusion", "LatentInpaintDiffusion", "LatentUpscaleDiffusion")
NOISED = "ImageConcatWithNoiseAugmentation"
"""The class through which an upscaler's low-resolution picture goes; its only tensors are schedule tables."""
UNCONDITIONAL, FIRST_STAGE = "__is_unconditional__", "__is_first_stage__"
"""Marks in place of a conditioner's class: there is none; it is the first stage."""
SCHEDULES = {"linear": "scaled-linear", "cosine": "cosine", "sqrt_linear": "linear", "sqrt": "sqrt"}
OBJECTIVES = {"eps": "epsilon", "x0": "x0", "v": "v"}
READ = {
    "linear_start", "linear_end", "cosine_s", "beta_schedule", "timesteps", "loss_type", "parameterization",
    "image_size", "channels", "concat_mode", "conditioning_key", "scale_factor", "cond_stage_key",
    "unet_config", "first_stage_config", "cond_stage_config", "low_scale_config",
}  # fmt: skip
TRAINING_ONLY = {
    "num_timesteps_cond", "log_every_t", "first_stage_key", "monitor", "cond_stage_trainable", "use_ema",
    "scale_by_std", "ckpt_path", "ignore_keys", "cond_stage_forward", "scheduler_config", "clip_denoised",
    "load_only_unet", "use_positional_encodings", "original_elbo_weight", "v_posterior", "l_simple_weight",
    "learn_logvar", "logvar_init", "finetune_keys", "concat_keys", "masked_image_key", "keep_finetune_dims",
    "unet_trainable", "reset_ema", "reset_num_ema_updates", "make_it_fit", "ucg_training",
    "force_null_conditioning", "low_scale_key",
}  # fmt: skip
"""Known entries that do not affect what the trained model computes."""


def slot(registry: Registry, kind: str, section: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A component's slot of the recipe from a section with `target` and `params`."""
    name = component_of(registry, FORMAT, kind, class_of(section), where)
    params = section.get("params") or {}
    if not isinstance(params, Mapping):
        raise UserError(f"{where}: params {short(params)} is no mapping")
    return parameters(registry, FORMAT, name, params)


def conditioner(registry: Registry, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The slot of the condition that cond_stage_config names; None where the model has none."""
    section = params.get("cond_stage_config")
    if section == UNCONDITIONAL or section is None:
        return None
    if section == FIRST_STAGE:
        return slot(registry, "conditioner", {"target": FIRST_STAGE}, "cond_stage_config")
    if not isinstance(section, Mapping):
        raise UserError(f"cond_stage_config: {short(section)} is not known")
    return slot(registry, "conditioner", section, "cond_stage_config")


def low_resolution(model_params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The slot of the low-resolution picture that an upscaler reads; None for other models."""
    section = model_params.get("low_scale_config")
    if section is None:
        return None
    if not isinstance(section, Mapping) or class_of(section) != NOISED:
        raise UserError(f"low_scale_config: {short(section)} is not known; only {NOISED}")
    params = section.get("params") or {}
    own = params.get("noise_schedule_config") or {}
    check("low_scale_config.params", params, ("noise_schedule_config", "max_noise_level", "to_cuda"))
    check("noise_schedule_config", own, ("linear_start", "linear_end", "timesteps", "beta_schedule"))
    return {
        "name": "noised-low-res",
        "schedule": schedule(own),
        "most": params.get("max_noise_level", 1000) - 1,
    }


def check(where: str, params: Mapping[str, Any], read: Collection[str]) -> None:
    """UserError that names the entries of a section that are not read."""
    try:
        check_entries(params, read)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def schedule(params: Mapping[str, Any]) -> dict[str, Any]:
    """The noise schedule's slot."""
    kind = str(params.get("beta_schedule", "linear"))
    if kind not in SCHEDULES:
        raise UserError(f"beta_schedule '{short(kind)}' is not known: {', '.join(SCHEDULES)}")
    settings: dict[str, Any] = {"name": SCHEDULES[kind], "steps": params.get("timesteps", 1000)}
    if kind != "cosine":
        settings |= {"start": params.get("linear_start", 1e-4), "end": params.get("linear_end", 2e-2)}
    elif "cosine_s" in params:
        settings["offset"] = params["cosine_s"]
    return settings


def objective(params: Mapping[str, Any]) -> dict[str, Any]:
    """The objective's slot."""
    kind = str(params.get("parameterization", "eps"))
    if kind not in OBJECTIVES:
        raise UserError(f"parameterization '{short(kind)}' is not known: {', '.join(OBJECTIVES)}")
    return {"name": OBJECTIVES[kind], "loss": params.get("loss_type", "l2")}


def refuse_unknown(params: Mapping[str, Any]) -> None:
    """UserError that names the entries of `model.params` that are not read."""
    try:
        check_entries(params, READ, harmless=TRAINING_ONLY)
    except ValueError as error:
        raise UserError(f"model.params: {error}") from error


def section_of(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A section of the configuration; UserError where there is none."""
    value = config.get(key)
    if not isinstance(value, dict):
        raise UserError(f"the configuration has no section '{key}'")
    return value


def class_of(section: Mapping[str, Any]) -> str:
    """The class's own name, without its module."""
    name = section.get("target")
    if not isinstance(name, str):
        raise UserError("the configuration has a section without 'target'")
    return short(name.rsplit(".", 1)[-1])
