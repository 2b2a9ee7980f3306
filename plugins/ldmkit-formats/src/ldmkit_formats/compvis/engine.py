"""sgm's `DiffusionEngine`: the same classes in another configuration, translated to the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.errors import UserError
from ldmkit.interchange.model import Tensors
from ldmkit.keymaps import check_entries, short
from ldmkit_formats.compvis.config import UNCONDITIONAL, class_of, section_of

NAME = "DiffusionEngine"
READ = ("network_config", "denoiser_config", "first_stage_config", "conditioner_config", "scale_factor")
LEFT = (
    "sampler_config", "loss_fn_config", "optimizer_config", "scheduler_config", "network_wrapper",
    "ckpt_path", "use_ema", "ema_decay_rate", "disable_first_stage_autocast", "input_key", "log_keys",
    "no_cond_log", "compile_model", "en_and_decode_n_samples_a_time", "monitor",
)  # fmt: skip
"""Known entries that have no part in what the trained model computes."""
SCALINGS = {"EpsScaling": "eps", "VScaling": "v"}
EMBEDDER, SIGMAS = "conditioner.embedders.0.", "denoiser.sigmas"
ATTENTION = "spatial_transformer_attn_type"
"""Which kernel computes attention there."""


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


def renamed(state: Tensors) -> Tensors:
    """The tensors under the names that LatentDiffusion has for them; the table of sigmas is left out."""
    return {
        f"cond_stage_model.{name.removeprefix(EMBEDDER)}" if name.startswith(EMBEDDER) else name: x
        for name, x in state.items()
        if name != SIGMAS
    }


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
    """The one embedder of a GeneralConditioner."""
    if section is None:
        return UNCONDITIONAL
    models = section_of(section, "params").get("emb_models") if isinstance(section, dict) else None
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise UserError(f"conditioner_config: {short(section)} has no list emb_models")
    if len(models) > 1:
        names = ", ".join(class_of(model) for model in models[:8])
        raise UserError(
            f"conditioner_config: {len(models)} embedders ({names}); of a single file a recipe holds one: "
            "import Stable Diffusion XL from its folder"
        )
    if not models:
        return UNCONDITIONAL
    return {"target": models[0].get("target"), "params": models[0].get("params") or {}}


def _check(where: str, params: Mapping[str, Any], read: tuple[str, ...], left: tuple[str, ...]) -> None:
    try:
        check_entries(params, read, harmless=left)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
