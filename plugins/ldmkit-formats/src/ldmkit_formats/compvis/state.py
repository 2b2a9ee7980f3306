"""The state dict of the published single file: its parts, their averages, and tables of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import Published, Tensors
from ldmkit.keymaps import some
from ldmkit.recipe import Component

NETWORK, FIRST, CONDITION = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
"""Prefixes of the parts' keys."""
AVERAGE, LOW_SCALE = "model_ema.", "low_scale_model."
BUFFERS = {
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
    "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
    "lvlb_weights", "logvar", "scale_factor", "cond_ids",
}  # fmt: skip
"""Tables that follow from the configuration; `alphas_cumprod` and `scale_factor` are checked or read."""
PLACEHOLDER = "none"
"""A key that stands in files for "no buffers": safetensors holds at least one tensor."""
COUNTERS = ("decay", "num_updates")


def below(state: Tensors, prefix: str) -> Tensors:
    """The tensors whose names begin with the prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def averaged(
    published: Published, state: Tensors, own: Tensors, prefix: str, part: str, weights: str | None
) -> Tensors:
    """A part's tensors, or their moving averages, found by the names of the parameters.

    prefix: the part's in the checkpoint. A first stage's losses have averages too; buffers have none.
    """
    averages = {k: v for k, v in below(state, AVERAGE).items() if k not in COUNTERS}
    if not averages and weights == "ema":
        raise UserError("--weights ema: the checkpoint holds no averaged weights; use --weights raw")
    names = {key: f"{prefix}{key.replace('.', '')}" for key in own}
    lacking = [n for key, n in names.items() if n not in averages and not key.startswith("loss.")]
    odd = [*lacking, *(averages.keys() - set(names.values()))]
    if averages and odd:
        what = "network" if part == "denoiser" else "first stage"
        raise UserError(f"model_ema does not match the {what}'s parameters: {some(sorted(odd))}")
    if not averages or weights == "raw":
        return own
    published.notes.append(f"{part}: the averaged weights (model_ema); --weights raw takes the others")
    return {key: averages.get(name, own[key]) for key, name in names.items()}


def check_strays(published: Published, state: Tensors) -> None:
    """UserError for a key that belongs nowhere; a note for tables of samplers."""
    prefixes = (NETWORK, FIRST, CONDITION, AVERAGE)
    tables = {*BUFFERS, *(f"{LOW_SCALE}{name}" for name in BUFFERS)}
    stray = sorted(k for k in state if not k.startswith(prefixes) and k not in tables)
    unknown = [k for k in stray if not k.startswith("ddim_")]
    if unknown:
        raise belongs_nowhere(unknown)
    if stray:
        published.notes.append(f"left aside {some(stray)}: tables of a sampler that once ran")


def belongs_nowhere(names: Iterable[str]) -> UserError:
    """The error for keys that no part of the model has."""
    return UserError(f"the checkpoint holds keys that belong to no part of the model: {some(sorted(names))}")


def measured_scale(state: Tensors) -> float | None:
    """The latent's scale that training measured, where the file holds it."""
    tensor = state.get("scale_factor")
    if tensor is not None and (tensor.numel() != 1 or not bool(tensor.isfinite().all())):
        raise UserError(f"scale_factor: one number expected, not a tensor of {tensor.numel()}")
    return None if tensor is None else float(tensor)


def check_repeated(condition: Tensors, first: Tensors) -> None:
    """A first stage that also conditions is held twice; both must be one."""
    differing = [k for k in condition if k not in first or not torch.equal(condition[k], first[k])]
    if differing:
        raise UserError(f"cond_stage_model is not the first stage again: {some(sorted(differing))}")


def check_schedule(registry: Registry, slot: Mapping[str, object], table: Tensor | None) -> None:
    """The checkpoint's own table must be the configured one's, as precisely as its type holds it."""
    if table is None:
        return
    built = build(registry, "schedule", Component.model_validate(dict(slot)))
    own = built.level(torch.linspace(0, 1, table.numel(), dtype=torch.float64)).alpha ** 2
    precision = torch.finfo(table.dtype).eps if table.is_floating_point() else 0.0
    alike = torch.allclose(own, table.double(), rtol=max(1e-3, precision), atol=max(1e-6, precision / 100))
    if table.ndim != 1 or not alike:
        raise UserError("the configuration's noise schedule is not the checkpoint's (alphas_cumprod differs)")
