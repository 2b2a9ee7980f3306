"""Reading the published single file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ldmkit import System
from ldmkit.artifacts import read_tensors
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, Tensors
from ldmkit.interchange.reading import number, read_yaml
from ldmkit_formats.compvis import engine, export
from ldmkit_formats.compvis.conditions import read_conditions
from ldmkit_formats.compvis.config import (
    FIRST_STAGE,
    MODELS,
    class_of,
    objective,
    refuse_unknown,
    schedule,
    section_of,
    slot,
)
from ldmkit_formats.compvis.state import (
    AVERAGE,
    CONDITION,
    FIRST,
    NETWORK,
    PLACEHOLDER,
    averaged,
    below,
    check_repeated,
    check_schedule,
    check_strays,
    measured_scale,
)

SUFFIXES = (".ckpt", ".safetensors", ".pt", ".pth", ".bin")


class SingleFile:
    """Format `compvis`: one state dict, beside the YAML configuration of the paper's code."""

    def accepts(self, source: Path) -> bool:
        """Whether it is a file with a checkpoint's suffix."""
        return source.is_file() and source.suffix in SUFFIXES

    def read(self, registry: Registry, source: Path, options: ImportOptions) -> Published:
        """Reads a whole model, or a first stage by itself."""
        if options.config is None:
            raise UserError(f"{source} is a single file: give its published configuration with --config")
        config = read_yaml(options.config)
        state = {key: x for key, x in read_tensors(source).items() if key != PLACEHOLDER}
        model = section_of(config, "model")
        if class_of(model) == engine.NAME:
            params = engine.translated(section_of(model, "params"))
            return _whole(registry, engine.renamed(state, params), params, options)
        if class_of(model) in MODELS:
            return _whole(registry, state, section_of(model, "params"), options)
        return _first_stage(registry, state, model, options)

    def write(self, system: System, out: Path) -> list[str]:
        """Writes model.ckpt and config.yaml."""
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
    published.tensors["compression"] = averaged(published, state, own, "", "compression", options.weights)
    return published


def _whole(
    registry: Registry, state: Tensors, params: Mapping[str, Any], options: ImportOptions
) -> Published:
    published = Published(_recipe(registry, params), {}, number(params, "scale_factor", 1.0))
    first, network, condition = (below(state, prefix) for prefix in (FIRST, NETWORK, CONDITION))
    published.configs["denoiser"] = section_of(params, "unet_config").get("params") or {}
    published.tensors["compression"] = first
    published.tensors["denoiser"] = averaged(
        published, state, network, "diffusion_model", "denoiser", options.weights
    )
    if params.get("cond_stage_config") == FIRST_STAGE:
        check_repeated(condition, first)
        condition = {}
    read_conditions(registry, published, params, condition, options)
    check_strays(published, state)
    check_schedule(registry, published.recipe["schedule"], state.get("alphas_cumprod"))
    if (measured := measured_scale(state)) is not None:
        published.scale = measured
    published.notes += _left_aside(params, state, published.scale)
    return published


def _recipe(registry: Registry, params: Mapping[str, Any]) -> dict[str, Any]:
    """What `model.params` say, the conditioners left open."""
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
    return {**recipe, "sample": {"size": [int(size), int(size)]}} if size else recipe


def _left_aside(params: Mapping[str, Any], state: Tensors, scale: float) -> Iterator[str]:
    """Lines on entries of the configuration that the recipe does not hold."""
    if params.get("scale_by_std") and "scale_factor" not in state:
        yield f"scale_by_std: the file lacks scale_factor, which was measured; {scale:g} is taken"
    if params.get("use_ema") is True and not below(state, AVERAGE):
        yield "use_ema: the file holds no averaged weights (model_ema); those that it has are taken"
    if number(params, "v_posterior", 0):
        yield "left aside v_posterior: a variance of ancestral sampling; the sampler is ddim"
