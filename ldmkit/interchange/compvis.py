"""The published single file: one state dict and a YAML configuration, both of the paper's implementation.

Configurations name Python classes; here a class name is looked up in a table and nothing is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ldmkit.components import build
from ldmkit.errors import UserError, did_you_mean
from ldmkit.interchange.model import Published, Tensors, parameters
from ldmkit.recipe import Component
from ldmkit.registry import Registry

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
BUFFERS = {
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
    "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
    "lvlb_weights", "logvar", "scale_factor", "cond_ids",
}  # fmt: skip
"""Tables that follow from the configuration; `alphas_cumprod` and `scale_factor` are checked or read."""
PLACEHOLDER = "none"
"""A key that stands in files for "no buffers": safetensors holds at least one tensor."""
NETWORK, FIRST, CONDITION, AVERAGE = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.",
    "model_ema.",
)


def read(registry: Registry, state: Tensors, config: Mapping[str, Any], weights: str | None) -> Published:
    """A single file taken apart; `weights` is "raw", "ema", or None for the average where there is one."""
    model = _section(config, "model")
    state = {key: tensor for key, tensor in state.items() if key != PLACEHOLDER}
    name, given = _target(model), _section(model, "params")
    if name in FIRST_STAGES:
        if weights == "ema":
            raise UserError("--weights ema: a stand-alone first stage holds no averaged weights")
        slot = _first_stage(registry, model)
        return Published({"compression": slot}, {"compression": state} if slot["name"] != "identity" else {})
    if name != "LatentDiffusion":
        known = [*FIRST_STAGES, "LatentDiffusion"]
        raise UserError(f"model.target '{name}' is not known: {', '.join(known)}{did_you_mean(name, known)}")
    return _whole(registry, state, given, weights)


def _whole(registry: Registry, state: Tensors, given: Mapping[str, Any], weights: str | None) -> Published:
    _refuse_unknown(given)
    recipe: dict[str, Any] = {
        "compression": _first_stage(registry, _section(given, "first_stage_config")),
        "conditioners": _conditioners(registry, given),
        "denoiser": parameters(registry, STYLE, "unet", _section(_section(given, "unet_config"), "params")),
        "schedule": _schedule(given),
        "objective": _objective(given),
    }
    size = given.get("image_size")
    if isinstance(size, int):
        factor = recipe["compression"].get("factor", 1)
        recipe["sample"] = {"size": [size * factor, size * factor]}
    published = Published(recipe, {}, float(given.get("scale_factor", 1.0)))
    _share_out(published, state, weights)
    _check_schedule(registry, recipe["schedule"], state)
    return published


def _share_out(published: Published, state: Tensors, weights: str | None) -> None:
    """Every key to its part; UserError for one that belongs nowhere."""
    network, first, condition = (_below(state, prefix) for prefix in (NETWORK, FIRST, CONDITION))
    if published.recipe["compression"]["name"] != "identity":
        published.tensors["compression"] = first
    published.tensors["denoiser"] = _averaged(state, network, weights, published.notes)
    for name, slot in published.recipe["conditioners"].items():
        if slot["name"] == "masked-image":
            _check_repeated(condition, first)
        elif slot["name"] != "low-res":
            published.tensors[f"conditioners.{name}"] = condition
        condition = condition if slot["name"] == "low-res" else {}
    left = [f"{CONDITION}{k}" for k in condition]
    prefixes = (NETWORK, FIRST, CONDITION, AVERAGE)
    stray = [k for k in state if not k.startswith(prefixes) and k not in BUFFERS]
    left += [k for k in stray if not k.startswith("ddim_")]
    if left:
        raise UserError(
            f"the checkpoint holds keys that belong to no part of the model: {', '.join(sorted(left)[:5])}"
        )
    if stray:
        published.notes.append(f"left aside {', '.join(sorted(stray))}: tables of a sampler that once ran")
    if "scale_factor" in state:
        published.scale = float(state["scale_factor"])


def _below(state: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _averaged(state: Tensors, network: Tensors, weights: str | None, notes: list[str]) -> Tensors:
    """The network's tensors, or their averages: named after the parameters, dots never guessed back."""
    averages = {k: v for k, v in _below(state, AVERAGE).items() if k not in ("decay", "num_updates")}
    if not averages and weights == "ema":
        raise UserError("--weights ema: the checkpoint holds no averaged weights; use --weights raw")
    names = {key: f"diffusion_model{key.replace('.', '')}" for key in network}
    if averages and set(averages) != set(names.values()):
        odd = sorted(set(averages) ^ set(names.values()))
        raise UserError(f"model_ema does not match the network's parameters: {', '.join(odd[:5])}")
    if not averages or weights == "raw":
        return network
    notes.append("denoiser: the averaged weights (model_ema); --weights raw takes the others")
    return {key: averages[name] for key, name in names.items()}


def _check_repeated(condition: Tensors, first: Tensors) -> None:
    """A first stage that also conditions is held twice; both must be one."""
    differing = [k for k in condition if k not in first or not torch.equal(condition[k], first[k])]
    if differing:
        raise UserError(f"cond_stage_model is not the first stage again: {', '.join(sorted(differing)[:5])}")


def _check_schedule(registry: Registry, slot: Mapping[str, Any], state: Tensors) -> None:
    """The checkpoint's own table must be the configured one's."""
    if "alphas_cumprod" not in state:
        return
    schedule = build(registry, "schedule", Component.model_validate(dict(slot)))
    table = state["alphas_cumprod"].double()
    own = schedule.level(torch.linspace(0, 1, len(table), dtype=torch.float64)).alpha ** 2
    if not torch.allclose(own, table, rtol=1e-3, atol=1e-6):
        raise UserError("the configuration's noise schedule is not the checkpoint's (alphas_cumprod differs)")


def _first_stage(registry: Registry, section: Mapping[str, Any]) -> dict[str, Any]:
    name = _target(section)
    if name not in FIRST_STAGES:
        raise UserError(f"first stage '{name}' is not known: {', '.join(FIRST_STAGES)}")
    if FIRST_STAGES[name] == "identity":
        return {"name": "identity"}
    return parameters(registry, STYLE, FIRST_STAGES[name], _section(section, "params"))


def _conditioners(registry: Registry, given: Mapping[str, Any]) -> dict[str, Any]:
    """The one condition of the published models, by the batch field that it reads."""
    section = given.get("cond_stage_config")
    if section == "__is_unconditional__" or section is None:
        return {}
    if section == "__is_first_stage__":
        return {"image": {"name": "masked-image"}}
    if not isinstance(section, Mapping):
        raise UserError(f"cond_stage_config: {section!r} is not known")
    name = _target(section)
    if name == "Identity":
        return {"low_res": {"name": "low-res", "field": "low_res"}}
    if name not in CONDITIONERS:
        raise UserError(
            f"cond_stage_config.target '{name}' is not known: {', '.join(CONDITIONERS)}, Identity"
        )
    field, component = CONDITIONERS[name]
    return {field: parameters(registry, STYLE, component, section.get("params") or {})}


def _schedule(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given.get("beta_schedule", "linear")
    if kind not in SCHEDULES:
        raise UserError(f"beta_schedule '{kind}' is not known: {', '.join(SCHEDULES)}")
    made: dict[str, Any] = {"name": SCHEDULES[kind], "steps": given.get("timesteps", 1000)}
    if kind != "cosine":
        made |= {"start": given.get("linear_start", 1e-4), "end": given.get("linear_end", 2e-2)}
    elif "cosine_s" in given:
        made["offset"] = given["cosine_s"]
    return made


def _objective(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given.get("parameterization", "eps")
    if kind not in OBJECTIVES:
        raise UserError(f"parameterization '{kind}' is not known: {', '.join(OBJECTIVES)}")
    return {"name": OBJECTIVES[kind], "loss": given.get("loss_type", "l2")}


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in READ | TRAINING_ONLY:
            raise UserError(f"model.params: unknown key '{key}'{did_you_mean(key, READ | TRAINING_ONLY)}")


def _section(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    if not isinstance(value, dict):
        raise UserError(f"the configuration has no section '{key}'")
    return value


def _target(section: Mapping[str, Any]) -> str:
    """The class's own name, without its module."""
    target = section.get("target")
    if not isinstance(target, str):
        raise UserError("the configuration has a section without 'target'")
    return target.rsplit(".", 1)[-1]
