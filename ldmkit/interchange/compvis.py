"""The published single file: one state dict beside a YAML configuration, as the paper's code writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ldmkit.engine.components import build
from ldmkit.errors import UserError, did_you_mean
from ldmkit.host.registry import Registry
from ldmkit.interchange.compvis_config import (
    FIRST_STAGES,
    STYLE,
    class_of,
    conditioners,
    first_stage,
    objective,
    refuse_unknown,
    schedule,
    section_of,
)
from ldmkit.interchange.model import Published, Tensors, parameters
from ldmkit.interchange.reading import number
from ldmkit.recipe import Component

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
    model = section_of(config, "model")
    state = {key: tensor for key, tensor in state.items() if key != PLACEHOLDER}
    name, given = class_of(model), section_of(model, "params")
    if name in FIRST_STAGES:
        if weights == "ema":
            raise UserError("--weights ema: a stand-alone first stage holds no averaged weights")
        slot = first_stage(registry, model)
        return Published({"compression": slot}, {"compression": state} if slot["name"] != "identity" else {})
    if name != "LatentDiffusion":
        known = [*FIRST_STAGES, "LatentDiffusion"]
        raise UserError(f"model.target '{name}' is not known: {', '.join(known)}{did_you_mean(name, known)}")
    return _whole(registry, state, given, weights)


def _whole(registry: Registry, state: Tensors, given: Mapping[str, Any], weights: str | None) -> Published:
    refuse_unknown(given)
    network = section_of(section_of(given, "unet_config"), "params")
    recipe: dict[str, Any] = {
        "compression": first_stage(registry, section_of(given, "first_stage_config")),
        "conditioners": conditioners(registry, given),
        "denoiser": parameters(registry, STYLE, "unet", network),
        "schedule": schedule(given),
        "objective": objective(given),
    }
    size = number(given, "image_size", 0) * recipe["compression"].get("factor", 1)
    if size < 0 or size % 1:
        raise UserError(f"model.params: image_size {given['image_size']} is no size of a latent")
    recipe |= {"sample": {"size": [int(size), int(size)]}} if size else {}
    published = Published(recipe, {}, number(given, "scale_factor", 1.0))
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
    left += [f"{FIRST}{k}" for k in first if "compression" not in published.tensors]
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
        published.scale = _scale(state["scale_factor"])


def _scale(tensor: Tensor) -> float:
    if tensor.numel() != 1 or not bool(tensor.isfinite().all()):
        raise UserError(f"scale_factor: one number expected, not a tensor of {tensor.numel()}")
    return float(tensor)


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
    made = build(registry, "schedule", Component.model_validate(dict(slot)))
    table = state["alphas_cumprod"].double()
    own = made.level(torch.linspace(0, 1, table.numel(), dtype=torch.float64)).alpha ** 2
    if table.ndim != 1 or not torch.allclose(own, table, rtol=1e-3, atol=1e-6):
        raise UserError("the configuration's noise schedule is not the checkpoint's (alphas_cumprod differs)")
