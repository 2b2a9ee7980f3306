"""The published single file's configuration.

It names Python classes; here a class name is looked up in a table and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import parameters

STYLE = "compvis"
FIRST_STAGES = {
    "AutoencoderKL": "kl-autoencoder",
    "VQModel": "vq-autoencoder",
    "VQModelInterface": "vq-autoencoder",
    "IdentityFirstStage": "identity",
}
CONDITIONERS = {
    "BERTEmbedder": ("caption", "text-transformer"),
    "TransformerEmbedder": ("caption", "text-transformer"),
    "ClassEmbedder": ("label", "class-embedding"),
    "SpatialRescaler": ("segmentation", "spatial-rescaler"),
}
"""Class to (batch field, component)."""
SCHEDULES = {"linear": "linear-beta", "cosine": "cosine", "sqrt_linear": "sqrt-linear", "sqrt": "sqrt"}
OBJECTIVES = {"eps": "epsilon", "x0": "x0", "v": "v"}
READ = {
    "linear_start", "linear_end", "cosine_s", "beta_schedule", "timesteps", "loss_type", "parameterization",
    "image_size", "channels", "concat_mode", "conditioning_key", "scale_factor", "cond_stage_key",
    "unet_config", "first_stage_config", "cond_stage_config",
}  # fmt: skip
TRAINING_ONLY = {
    "num_timesteps_cond", "log_every_t", "first_stage_key", "monitor", "cond_stage_trainable", "use_ema",
    "scale_by_std", "ckpt_path", "ignore_keys", "cond_stage_forward", "scheduler_config", "clip_denoised",
    "load_only_unet", "use_positional_encodings", "original_elbo_weight", "v_posterior", "l_simple_weight",
    "learn_logvar", "logvar_init",
}  # fmt: skip
"""Known entries that have no part in what the trained model computes."""


def first_stage(registry: Registry, section: Mapping[str, Any]) -> dict[str, Any]:
    name = class_of(section)
    if name not in FIRST_STAGES:
        raise UserError(f"first stage '{name}' is not known: {', '.join(FIRST_STAGES)}")
    if FIRST_STAGES[name] == "identity":
        return {"name": "identity"}
    return parameters(registry, STYLE, FIRST_STAGES[name], section_of(section, "params"))


def conditioners(registry: Registry, given: Mapping[str, Any]) -> dict[str, Any]:
    """The one condition of the published models, by the batch field that it reads."""
    section = given.get("cond_stage_config")
    if section == "__is_unconditional__" or section is None:
        return {}
    if section == "__is_first_stage__":
        return {"image": {"name": "masked-image"}}
    if not isinstance(section, Mapping):
        raise UserError(f"cond_stage_config: {section!r} is not known")
    name = class_of(section)
    if name == "Identity":
        return {"low_res": {"name": "low-res", "field": "low_res"}}
    if name not in CONDITIONERS:
        raise UserError(
            f"cond_stage_config.target '{name}' is not known: {', '.join(CONDITIONERS)}, Identity"
        )
    field, component = CONDITIONERS[name]
    return {field: parameters(registry, STYLE, component, section.get("params") or {})}


def schedule(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(given.get("beta_schedule", "linear"))
    if kind not in SCHEDULES:
        raise UserError(f"beta_schedule '{kind}' is not known: {', '.join(SCHEDULES)}")
    made: dict[str, Any] = {"name": SCHEDULES[kind], "steps": given.get("timesteps", 1000)}
    if kind != "cosine":
        made |= {"start": given.get("linear_start", 1e-4), "end": given.get("linear_end", 2e-2)}
    elif "cosine_s" in given:
        made["offset"] = given["cosine_s"]
    return made


def objective(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(given.get("parameterization", "eps"))
    if kind not in OBJECTIVES:
        raise UserError(f"parameterization '{kind}' is not known: {', '.join(OBJECTIVES)}")
    return {"name": OBJECTIVES[kind], "loss": given.get("loss_type", "l2")}


def refuse_unknown(given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in READ | TRAINING_ONLY:
            raise UserError(
                f"model.params: unknown key '{key}'{did_you_mean(str(key), READ | TRAINING_ONLY)}"
            )


def section_of(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if not isinstance(value, dict):
        raise UserError(f"the configuration has no section '{key}'")
    return value


def class_of(section: Mapping[str, Any]) -> str:
    """The class's own name, without its module."""
    name = section.get("target")
    if not isinstance(name, str):
        raise UserError("the configuration has a section without 'target'")
    return name.rsplit(".", 1)[-1]
