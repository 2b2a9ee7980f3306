"""sgm's `DiffusionEngine`: the same classes in another configuration, translated to the first one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldmkit.errors import UserError
from ldmkit.interchange.model import Tensors
from ldmkit.keymaps import check_entries, short, some
from ldmkit_formats.compvis.config import UNCONDITIONAL, class_of, section_of

NAME = "DiffusionEngine"
READ = ("network_config", "denoiser_config", "first_stage_config", "conditioner_config", "scale_factor")
LEFT = (
    "sampler_config", "loss_fn_config", "optimizer_config", "scheduler_config", "network_wrapper",
    "ckpt_path", "use_ema", "ema_decay_rate", "disable_first_stage_autocast", "input_key", "log_keys",
    "no_cond_log", "compile_model", "en_and_decode_n_samples_a_time", "monitor",
)  # fmt: skip
"""Known entries that do not affect what the trained model computes."""
SCALINGS = {"EpsScaling": "eps", "VScaling": "v"}
EMBEDDERS, SIGMAS = "conditioner.", "denoiser.sigmas"
FIRST_EMBEDDER = f"{EMBEDDERS}embedders.0."
PAIR = ("FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder2")
SIZES = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
"""What Stable Diffusion XL reads: two text encoders, and sizes through classes without tensors."""
SIZE_CLASS, SCORE = "ConcatTimestepEmbedderND", "aesthetic_score"
ATTENTION = "spatial_transformer_attn_type"
"""The entry that chooses the kernel of attention."""


def translated(params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` of LatentDiffusion that say what those of a DiffusionEngine say.

    Raises UserError for an entry that is not known, and for more than one embedder.
    """
    _check("model.params", params, READ, LEFT)
    denoiser = section_of(section_of(params, "denoiser_config"), "params")
    scaling = class_of(section_of(denoiser, "scaling_config"))
    if scaling not in SCALINGS:
        raise UserError(f"denoiser_config: scaling '{scaling}' is not known: {', '.join(SCALINGS)}")
    return {
        **_schedule(denoiser),
        "parameterization": SCALINGS[scaling],
        "unet_config": _network(section_of(params, "network_config")),
        "first_stage_config": section_of(params, "first_stage_config"),
        "cond_stage_config": _embedder(params.get("conditioner_config")),
        "scale_factor": params.get("scale_factor", 1.0),
    }


def renamed(state: Tensors, params: Mapping[str, Any]) -> Tensors:
    """The tensors under the names that LatentDiffusion has for them; the table of sigmas is left out.

    params: as translated. Several embedders keep their numbers.
    """
    prefix = FIRST_EMBEDDER if sizes(params["cond_stage_config"]) is None else EMBEDDERS
    return {
        f"cond_stage_model.{name.removeprefix(prefix)}" if name.startswith(prefix) else name: x
        for name, x in state.items()
        if name != SIGMAS
    }


def sizes(section: Any) -> dict[str, Any] | None:
    """The slot of the sizes that embedders beside text encoders are told; None where there are none."""
    params = section.get("params") if isinstance(section, Mapping) else None
    models = params.get("emb_models") if isinstance(params, Mapping) else None
    if not models:
        return None
    return {"name": "size-embedding", "width": section_of(models[-1], "params").get("outdim", 256)}


def _schedule(denoiser: Mapping[str, Any]) -> dict[str, Any]:
    """The table of betas; its class has defaults of its own."""
    section = section_of(denoiser, "discretization_config")
    if class_of(section) != "LegacyDDPMDiscretization":
        raise UserError(f"denoiser_config: discretization '{class_of(section)}' is not known")
    own = section.get("params") or {}
    _check("discretization_config.params", own, ("linear_start", "linear_end", "num_timesteps"), ())
    return {
        "beta_schedule": "linear",
        "linear_start": own.get("linear_start", 0.00085),
        "linear_end": own.get("linear_end", 0.012),
        "timesteps": own.get("num_timesteps", 1000),
    }


def _network(section: Mapping[str, Any]) -> dict[str, Any]:
    """The UNet's section; with a context its attention is always a spatial transformer there."""
    own = section_of(section, "params")
    params = {key: value for key, value in own.items() if key != ATTENTION}
    spatial = {"use_spatial_transformer": True} if own.get("context_dim") else {}
    return {"target": section.get("target"), "params": {"legacy": False, **params, **spatial}}


def _embedder(section: Any) -> Any:
    """The one embedder of a GeneralConditioner, or it as a whole with those of Stable Diffusion XL."""
    if section is None:
        return UNCONDITIONAL
    models = section_of(section, "params").get("emb_models") if isinstance(section, dict) else None
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise UserError(f"conditioner_config: {short(section)} has no list emb_models")
    if len(models) > 1:
        _check_pair(models)
        return {"target": section.get("target"), "params": {"emb_models": models}}
    if not models:
        return UNCONDITIONAL
    return {"target": models[0].get("target"), "params": models[0].get("params") or {}}


def _check_pair(models: Sequence[Mapping[str, Any]]) -> None:
    """UserError for embedders that are not those of Stable Diffusion XL."""
    classes, keys = [class_of(model) for model in models], [model.get("input_key") for model in models]
    if SCORE in keys:
        raise UserError(
            "conditioner_config: a refiner, which reads one text encoder of two and a score, is no model "
            "that a recipe can hold: import the base model, which draws whole pictures by itself"
        )
    params = [str(section_of(model, "params")) for model in models[len(PAIR) :]]
    if classes != [*PAIR, *(SIZE_CLASS for _ in SIZES)] or keys[2:] != [*SIZES] or len({*params}) > 1:
        names = some((f"{name} of {key}" for name, key in zip(classes, keys, strict=True)), 8)
        raise UserError(
            f"conditioner_config: embedders ({names}) that are neither one text encoder nor the five of "
            "Stable Diffusion XL: import the pipeline's folder, or give the configuration of this very file"
        )


def _check(where: str, params: Mapping[str, Any], read: tuple[str, ...], left: tuple[str, ...]) -> None:
    try:
        check_entries(params, read, harmless=left)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
