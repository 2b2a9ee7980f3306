"""A recipe's schedule, objective, sampler and clipping as a scheduler_config.json.

What is written is read again: a class holds a recipe where reading gives the recipe back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.recipe import Component, Recipe, SamplerSlot, resolve_component
from ldmkit_formats.diffusers.schedulers import read_scheduler
from ldmkit_formats.diffusers.schedulers.reading import BETAS, OBJECTIVES, OWN

CLASSES: Mapping[str, tuple[str, ...]] = {
    "ddim": ("DDIMScheduler", "EulerDiscreteScheduler"),
    "ddpm": ("DDPMScheduler",),
    "plms": ("PNDMScheduler",),
    "euler": (
        "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler",
        "FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler",
    ),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler",),
    "heun": ("HeunDiscreteScheduler",),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler"),
    "dpmpp-2m-sde": ("DPMSolverMultistepScheduler",),
    "unipc": ("UniPCMultistepScheduler",),
}  # fmt: skip
"""The classes that may hold a sampler, the preferred first."""
STAND_IN = {
    "_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
    "timestep_spacing": "leading",
}  # fmt: skip
"""What samples as the paper does where no class holds the sampler."""
TRAINING_ONLY = ("sampling", "mean", "std", "loss", "weighting", "gamma")
LASTS = ("clamp", "dynamic-threshold")
"""Guidance that schedulers do themselves; of any other kind pipelines take a scale when they are called."""


def write_scheduler(recipe: Recipe, registry: Registry) -> tuple[dict[str, Any], list[str]]:
    """The configuration, and a line where another sampler stands in; UserError for a schedule or an objective
    that no class has."""
    for config in _candidates(recipe):
        if _held(config, recipe, registry, sampler=True):
            return config, []
    fallback = STAND_IN | _table(recipe)
    if not _held(fallback, recipe, registry, sampler=False):
        raise UserError(_refusal(recipe))
    slot = recipe.sampler
    return fallback, [
        f"scheduler: no class holds sampler '{slot.name}' with spacing '{slot.spacing.name}' and the "
        "recipe's clipping; DDIMScheduler, leading, stands in"
    ]


def _refusal(recipe: Recipe) -> str:
    slots = [*recipe.schedule.parameters.items(), *recipe.objective.parameters.items()]
    listing = ", ".join(f"{key} {value}" for key, value in slots if key not in TRAINING_ONLY)
    return (
        f"schedule '{recipe.schedule.name}' with objective '{recipe.objective.name}' cannot be held in the "
        f"diffusers format ({listing}): it has {', '.join(BETAS.values())} with "
        f"{', '.join(OBJECTIVES.values())}, flow with sampler euler and spacing linspace down to 1/1000, and "
        "edm with spacing karras"
    )


def _candidates(recipe: Recipe) -> Iterator[dict[str, Any]]:
    parts = {
        **_table(recipe),
        **_continuous(recipe),
        **_sampler(recipe),
        **_spacing(recipe),
        **_bounds(recipe),
    }
    for name in CLASSES.get(recipe.sampler.name, ()):
        entries = {k: v for k, v in parts.items() if k not in OWN or name in OWN[k]}
        yield {"_class_name": name, **entries}


def _table(recipe: Recipe) -> dict[str, Any]:
    """The betas and what the network predicts; nothing for schedules of another kind."""
    betas = {ours: theirs for theirs, ours in BETAS.items()}.get(recipe.schedule.name)
    target = {ours: theirs for theirs, ours in OBJECTIVES.items()}.get(recipe.objective.name)
    own = recipe.schedule.parameters
    if betas is None or target is None:
        return {}
    ends = {"beta_start": own["start"], "beta_end": own["end"]} if "start" in own else {}
    return {
        "beta_schedule": betas,
        **ends,
        "num_train_timesteps": own["steps"],
        "prediction_type": target,
        "rescale_betas_zero_snr": own["zero_snr"],
    }


def _continuous(recipe: Recipe) -> dict[str, Any]:
    """The entries of flow matching's and EDM's classes."""
    schedule, objective = recipe.schedule.parameters, recipe.objective.parameters
    if recipe.schedule.name == "flow":
        return {"shift": schedule["shift"], "num_train_timesteps": 1000}
    if recipe.schedule.name != "edm":
        return {}
    ends = {key: schedule[key] for key in ("sigma_min", "sigma_max")}
    spaced = recipe.sampler.spacing
    even = {"sigma_schedule": "exponential"} if spaced.name == "linspace" else {}
    return {
        **ends,
        "sigma_data": objective.get("sigma_data"),
        "rho": spaced.parameters.get("rho", 7.0),
        **even,
    }


def _sampler(recipe: Recipe) -> dict[str, Any]:
    """The entries that choose among what one class can do."""
    own, name = recipe.sampler.parameters, recipe.sampler.name
    if name == "plms":
        return {"skip_prk_steps": True}
    if name == "unipc":
        return {"solver_order": own["order"]}
    if name == "euler":
        return {"solver_order": 1}
    if name in ("dpmpp-2m", "dpmpp-2m-sde"):
        return {"solver_order": 2, "algorithm_type": f"{'sde-' if 'sde' in name else ''}dpmsolver++"}
    if recipe.objective.parameters.get("variance") == "learned-range":
        return {"variance_type": "learned_range"}
    return {"variance_type": "fixed_large" if own.get("variance") == "large" else "fixed_small"}


def _spacing(recipe: Recipe) -> dict[str, Any]:
    """The entries that choose the levels."""
    slot = recipe.sampler.spacing
    clean = slot.parameters.get("end", "clean") == "clean"
    kind = {"karras": "linspace"}.get(slot.name, slot.name)
    return {
        "timestep_spacing": kind,
        "steps_offset": slot.parameters.get("offset", 0),
        "set_alpha_to_one": clean,
        "final_sigmas_type": "zero" if clean else "sigma_min",
        "use_karras_sigmas": slot.name == "karras",
    }


def _bounds(recipe: Recipe) -> dict[str, Any]:
    """Clipping and thresholding, which classes have switched on where they say nothing."""
    bounds: dict[str, Any] = {"clip_sample": False, "thresholding": False}
    for guide in recipe.guidance:
        own = guide.parameters
        if guide.name == "clamp":
            bounds |= {"clip_sample": True, "clip_sample_range": own["range"]}
        elif guide.name == "dynamic-threshold":
            ratio = {"dynamic_thresholding_ratio": own["ratio"], "sample_max_value": own["largest"]}
            bounds |= {"thresholding": True, **ratio}
    return bounds


def _held(config: Mapping[str, Any], recipe: Recipe, registry: Registry, *, sampler: bool) -> bool:
    """Whether the configuration, read again, gives the recipe's components."""
    channels = 2 if recipe.objective.parameters.get("variance") == "learned-range" else 1
    try:
        read = read_scheduler(config, channels, 1).recipe
    except UserError:
        return False
    pairs = [
        ("schedule", read["schedule"], recipe.schedule),
        ("objective", read["objective"], recipe.objective),
    ]
    if sampler:
        slot = SamplerSlot.model_validate(read["sampler"])
        pairs += [("sampler", slot, recipe.sampler), ("spacing", slot.spacing, recipe.sampler.spacing)]
        own = [guide for guide in recipe.guidance if guide.name in LASTS]
        guidance = read.get("guidance", [])
        if len(own) != len(guidance):
            return False
        pairs += [("guidance", theirs, ours) for theirs, ours in zip(guidance, own, strict=True)]
    return all(_alike(kind, theirs, ours, registry) for kind, theirs, ours in pairs)


def _alike(kind: str, theirs: Any, ours: Component, registry: Registry) -> bool:
    """Whether two components compute the same after the training."""
    slot = theirs if isinstance(theirs, Component) else Component.model_validate(theirs)
    both = [_essence(resolve_component(kind, slot, registry)), _essence(ours)]
    return both[0] == both[1]


def _essence(slot: Component) -> tuple[str, dict[str, Any]]:
    """Name and parameters; Euler's step is that of a DDIM without fresh noise."""
    own = {key: value for key, value in slot.parameters.items() if key not in TRAINING_ONLY}
    return ("ddim", {"eta": 0.0}) if slot.name == "euler" else (slot.name, own)
