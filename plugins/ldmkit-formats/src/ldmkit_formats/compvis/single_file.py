"""Reading the published single file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldmkit import System
from ldmkit.artifacts import read_tensors
from ldmkit.engine.components import build
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, Tensors, key_map
from ldmkit.interchange.reading import number, read_yaml
from ldmkit.keymaps import some
from ldmkit.recipe import Component
from ldmkit_formats.compvis import engine, export
from ldmkit_formats.compvis.config import (
    FIRST_STAGE,
    MODELS,
    STYLE,
    class_of,
    conditioner,
    low_resolution,
    objective,
    refuse_unknown,
    schedule,
    section_of,
    slot,
)
from ldmkit_formats.encoders import copy_tokenizer, write_encoder

SUFFIXES = (".ckpt", ".safetensors", ".pt", ".pth", ".bin")
BUFFERS = {
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
    "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
    "lvlb_weights", "logvar", "scale_factor", "cond_ids",
}  # fmt: skip
"""Tables that follow from the configuration; `alphas_cumprod` and `scale_factor` are checked or read."""
PLACEHOLDER = "none"
"""A key that stands in files for "no buffers": safetensors holds at least one tensor."""
LOW_SCALE = "low_scale_model."
NETWORK, FIRST, CONDITION, AVERAGE = export.NETWORK, export.FIRST, export.CONDITION, "model_ema."
COUNTERS = ("decay", "num_updates")


class SingleFile:
    """Format `compvis`: one state dict, beside the YAML configuration of the paper's code."""

    def accepts(self, source: Path) -> bool:
        """A file with a checkpoint's suffix."""
        return source.is_file() and source.suffix in SUFFIXES

    def read(self, registry: Registry, source: Path, options: ImportOptions) -> Published:
        """A whole model or a first stage by itself."""
        if options.config is None:
            raise UserError(f"{source} is a single file: give its published configuration with --config")
        config = read_yaml(options.config)
        state = {key: x for key, x in read_tensors(source).items() if key != PLACEHOLDER}
        model = section_of(config, "model")
        if class_of(model) == engine.NAME:
            params = engine.translated(section_of(model, "params"))
            return _whole(registry, engine.renamed(state), params, options)
        if class_of(model) in MODELS:
            return _whole(registry, state, section_of(model, "params"), options)
        return _first_stage(registry, state, model, options)

    def write(self, system: System, out: Path) -> list[str]:
        """model.ckpt and config.yaml."""
        return export.write(system, out)


def _first_stage(
    registry: Registry, state: Tensors, model: Mapping[str, Any], options: ImportOptions
) -> Published:
    compression = slot(
        registry, "compression", model, f"model.target (or {', '.join((*MODELS, engine.NAME))})"
    )
    own = {key: x for key, x in state.items() if not key.startswith(AVERAGE)}
    if not any(key.startswith(AVERAGE) for key in state) and options.weights == "ema":
        raise UserError("--weights ema: a stand-alone first stage holds no averaged weights")
    published = Published({"compression": compression}, {})
    published.tensors["compression"] = _averaged(published, state, own, "", "compression", options.weights)
    return published


def _whole(
    registry: Registry, state: Tensors, params: Mapping[str, Any], options: ImportOptions
) -> Published:
    refuse_unknown(params)
    recipe: dict[str, Any] = {
        "compression": slot(
            registry, "compression", section_of(params, "first_stage_config"), "first_stage_config"
        ),
        "conditioners": {},
        "denoiser": slot(registry, "denoiser", section_of(params, "unet_config"), "unet_config"),
        "schedule": schedule(params),
        "objective": objective(params),
    }
    size = number(params, "image_size", 0) * recipe["compression"].get("factor", 1)
    if size < 0 or size % 1:
        raise UserError(f"model.params: image_size {params['image_size']} is no size of a latent")
    recipe |= {"sample": {"size": [int(size), int(size)]}} if size else {}
    published = Published(recipe, {}, number(params, "scale_factor", 1.0))
    network, first, condition = (_below(state, prefix) for prefix in (NETWORK, FIRST, CONDITION))
    published.tensors["compression"] = first
    published.tensors["denoiser"] = _averaged(
        published, state, network, "diffusion_model", "denoiser", options.weights
    )
    if params.get("cond_stage_config") == FIRST_STAGE:
        _check_repeated(condition, first)
        condition = {}
    _conditions(registry, published, params, condition, options)
    _check_strays(published, state)
    _check_schedule(registry, recipe["schedule"], state)
    if "scale_factor" in state:
        published.scale = _scale(state["scale_factor"])
    elif params.get("scale_by_std"):
        published.notes.append(
            f"scale_by_std: the file lacks scale_factor, which was measured; {published.scale:g} is taken"
        )
    if number(params, "v_posterior", 0):
        published.notes.append(
            "left aside v_posterior: a variance of ancestral sampling; the sampler is ddim"
        )
    return published


def _conditions(
    registry: Registry,
    published: Published,
    params: Mapping[str, Any],
    tensors: Tensors,
    options: ImportOptions,
) -> None:
    """The conditioner and its tensors; an encoder that transformers computes gets a folder of its own."""
    low_res = conditioner(registry, params)
    if low_res is None:
        if tensors:
            raise _belongs_nowhere(CONDITION + name for name in tensors)
        return
    keys = key_map(registry, STYLE, low_res["name"])
    name = getattr(keys, "condition", low_res["name"])
    published.recipe["conditioners"][name] = low_res
    if hasattr(keys, "encoder"):
        _encoder(published, name, keys, params, tensors, options)
    else:
        published.tensors[f"conditioners.{name}"] = tensors
    if (small := low_resolution(params)) is not None:
        published.recipe["conditioners"]["low_res"] = small
    if low_res["name"] != "masked-image" and params.get("conditioning_key") == "hybrid":
        published.recipe["conditioners"]["image"] = {"name": "masked-image", "layout": "stable-diffusion"}


def _encoder(
    published: Published,
    name: str,
    keys: Any,
    params: Mapping[str, Any],
    tensors: Tensors,
    options: ImportOptions,
) -> None:
    section = params["cond_stage_config"]
    if options.tokenizer is None:
        raise UserError(
            f"{class_of(section)} reads text with {keys.tokenizer}, which no single file holds: name a "
            "folder that has its tokenizer.json, or vocab.json and merges.txt, by --tokenizer"
        )
    try:
        encoder = keys.encoder(tensors, section.get("params") or {})
    except ValueError as error:
        raise UserError(f"cond_stage_model does not fit its configuration: {error}") from error
    published.notes += encoder.notes
    published.folders["text_encoder"] = partial(write_encoder, encoder.config, encoder.tensors)
    published.folders["tokenizer"] = partial(copy_tokenizer, options.tokenizer)
    published.recipe["conditioners"][name]["path"] = "."


def _check_strays(published: Published, state: Tensors) -> None:
    """UserError for a key that belongs nowhere; a note for tables of samplers."""
    prefixes = (NETWORK, FIRST, CONDITION, AVERAGE)
    tables = {*BUFFERS, *(f"{LOW_SCALE}{name}" for name in BUFFERS)}
    stray = sorted(k for k in state if not k.startswith(prefixes) and k not in tables)
    unknown = [k for k in stray if not k.startswith("ddim_")]
    if unknown:
        raise _belongs_nowhere(unknown)
    if stray:
        published.notes.append(f"left aside {some(stray)}: tables of a sampler that once ran")


def _belongs_nowhere(names: Any) -> UserError:
    return UserError(f"the checkpoint holds keys that belong to no part of the model: {some(sorted(names))}")


def _scale(tensor: Tensor) -> float:
    if tensor.numel() != 1 or not bool(tensor.isfinite().all()):
        raise UserError(f"scale_factor: one number expected, not a tensor of {tensor.numel()}")
    return float(tensor)


def _below(state: Tensors, prefix: str) -> Tensors:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _averaged(
    published: Published, state: Tensors, own: Tensors, prefix: str, part: str, weights: str | None
) -> Tensors:
    """A part's tensors, or their averages: named after the parameters, dots never guessed back.

    prefix: of the part in the wrapper. Of a first stage the losses have averages too; buffers have none.
    """
    averages = {k: v for k, v in _below(state, AVERAGE).items() if k not in COUNTERS}
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


def _check_repeated(condition: Tensors, first: Tensors) -> None:
    """A first stage that also conditions is held twice; both must be one."""
    differing = [k for k in condition if k not in first or not torch.equal(condition[k], first[k])]
    if differing:
        raise UserError(f"cond_stage_model is not the first stage again: {some(sorted(differing))}")


def _check_schedule(registry: Registry, slot: Mapping[str, Any], state: Tensors) -> None:
    """The checkpoint's own table must be the configured one's, as precisely as its type holds it."""
    if "alphas_cumprod" not in state:
        return
    built = build(registry, "schedule", Component.model_validate(dict(slot)))
    table = state["alphas_cumprod"]
    own = built.level(torch.linspace(0, 1, table.numel(), dtype=torch.float64)).alpha ** 2
    precision = torch.finfo(table.dtype).eps if table.is_floating_point() else 0.0
    alike = torch.allclose(own, table.double(), rtol=max(1e-3, precision), atol=max(1e-6, precision / 100))
    if table.ndim != 1 or not alike:
        raise UserError("the configuration's noise schedule is not the checkpoint's (alphas_cumprod differs)")
