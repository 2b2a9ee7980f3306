"""Schedulers of T betas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ldmkit.errors import UserError
from ldmkit_formats.diffusers.schedulers import samplers
from ldmkit_formats.diffusers.schedulers.ends import tell_ends
from ldmkit_formats.diffusers.schedulers.reading import BETAS, OBJECTIVES, Reading


@dataclass(frozen=True)
class Family:
    """How one scheduler class samples a table of betas.

    sampler: our component with its parameters. spacing, alpha_to_one: what the class takes where its
    configuration is silent; alpha_to_one None: it has no such entry, and `end` is clean. spare: its spacings
    leave the cleanest of n + 1 timesteps out. whole: it rounds timesteps. clips: whether it clips by default
    (None: never). noise: which noise goes with a clipped estimate. chained: each step ends where the next
    begins, whatever the spacing. betas: beta_start and beta_end where the configuration is silent.
    """

    sampler: Callable[[Reading], dict[str, Any]]
    spacing: str = "linspace"
    alpha_to_one: bool | None = None
    spare: bool = False
    whole: bool = True
    clips: bool | None = None
    noise: str = "follow"
    chained: bool = True
    betas: tuple[float, float] = (1e-4, 2e-2)


def read_table(reading: Reading, learned: bool) -> None:
    """A scheduler of T betas."""
    family = FAMILIES[reading.name]
    if reading.get("use_flow_sigmas", False):
        _flow_sigmas(reading, family)
        return
    kind = str(reading.get("beta_schedule", "linear"))
    target = str(reading.get("prediction_type", "epsilon"))
    if kind not in BETAS or target not in OBJECTIVES or reading.get("trained_betas") is not None:
        betas = "trained_betas" if reading.get("trained_betas") is not None else f"beta_schedule '{kind}'"
        raise UserError(f"scheduler: {betas} with prediction_type '{target}' is not known")
    schedule: dict[str, Any] = {"name": BETAS[kind], "steps": reading.get("num_train_timesteps", 1000)}
    start, end = family.betas
    ends = {"start": reading.get("beta_start", start), "end": reading.get("beta_end", end)}
    schedule |= ends if kind != "squaredcos_cap_v2" else {}
    if reading.get("rescale_betas_zero_snr", False):
        schedule["zero_snr"] = True
    objective = {"name": OBJECTIVES[target]}
    if learned:
        objective["variance"] = "learned-range"
    reading.recipe |= {"schedule": schedule, "objective": objective}
    _variance(reading, learned)
    reading.recipe["sampler"] = {**family.sampler(reading), "spacing": _spacing(reading, family)}
    bounds(reading, family)
    tell_ends(reading)


def _spacing(reading: Reading, family: Family) -> dict[str, Any]:
    """The levels that the scheduler visits."""
    kind, offset = reading.get("timestep_spacing", family.spacing), reading.get("steps_offset", 0)
    clean = reading.get("set_alpha_to_one", family.alpha_to_one) if family.alpha_to_one is not None else True
    if reading.get("final_sigmas_type", "zero") == "sigma_min":
        reading.took("final_sigmas_type", "spacing.end first")
        clean = False
    end = {"end": "clean" if clean else "first"}
    if reading.get("use_karras_sigmas", False):
        if kind != "linspace" and not family.spare:
            reading.left("timestep_spacing", "Karras levels span the whole schedule")
        return {"name": "karras", **end, **({"whole": True} if family.spare else {})}
    if (kind == "leading" and not family.spare) or (kind == "trailing" and not family.chained):
        T = reading.get("num_train_timesteps", 1000)
        reading.took("timestep_spacing", f"spacing {kind}, its like where the number of steps divides {T}")
    if kind == "leading":
        return {"name": "leading", "offset": offset, **({"spare": True} if family.spare else {}), **end}
    if kind == "trailing":
        return {"name": "trailing", **end}
    if kind != "linspace":
        raise UserError(f"scheduler: timestep_spacing '{kind}' is not known: leading, trailing, linspace")
    if not family.chained:
        reading.left(
            "timestep_spacing",
            "there a step ends T/n below, here on the next timestep; spacing linspace stands in",
        )
    spare = {"spare": True} if family.spare else {}
    return {"name": "linspace", **spare, **({} if family.whole else {"whole": False}), **end}


def _variance(reading: Reading, learned: bool) -> None:
    """`variance_type` where it must fit the network's channels; the sampler reads the fixed ones."""
    kind = reading.config.get("variance_type")
    if kind in ("learned", "learned_range") and not learned:
        reading.left("variance_type", "the network puts out no variance")
    elif learned and kind != "learned_range":
        reading.took(
            "variance_type", "objective.variance learned-range, since the network puts out a variance"
        )
    elif kind == "learned_range":
        reading.took("variance_type", "objective.variance learned-range")


def bounds(reading: Reading, family: Family) -> None:
    """Clipping and thresholding become guidance, which is the last."""
    guidance: list[dict[str, Any]] = []
    if reading.get("thresholding", False):
        threshold = {
            "name": "dynamic-threshold",
            "ratio": reading.get("dynamic_thresholding_ratio", 0.995),
            "largest": reading.get("sample_max_value", 1.0),
        }
        guidance.append({**threshold, "noise": family.noise})
        reading.took("thresholding", "guidance dynamic-threshold")
        reading.read |= {"clip_sample", "clip_sample_range"}
    elif family.clips is not None and reading.get("clip_sample", family.clips):
        guidance.append(
            {"name": "clamp", "range": reading.get("clip_sample_range", 1.0), "noise": family.noise}
        )
        reading.took("clip_sample", "guidance clamp")
    if guidance:
        reading.recipe["guidance"] = guidance


def _flow_sigmas(reading: Reading, family: Family) -> None:
    reading.recipe |= {
        "schedule": {"name": "flow", "shift": float(reading.get("flow_shift", 1.0))},
        "objective": {"name": "flow"},
        "sampler": {**family.sampler(reading), "spacing": {"name": "trailing"}},
    }
    reading.read |= {"beta_schedule", "beta_start", "beta_end", "prediction_type", "steps_offset"}
    reading.read |= {"num_train_timesteps", "final_sigmas_type"}
    reading.took("use_flow_sigmas", "schedule and objective flow")
    reading.left("timestep_spacing", "spacing trailing stands in, within 1/T of its levels")


HEUN = (0.00085, 0.012)
FAMILIES: Mapping[str, Family] = {
    "DDIMScheduler": Family(
        samplers.named("ddim"), "leading", alpha_to_one=True, clips=True, noise="keep", chained=False
    ),
    "DDPMScheduler": Family(samplers.ddpm, "leading", clips=True),
    "PNDMScheduler": Family(samplers.plms, "leading", alpha_to_one=False, chained=False),
    "EulerDiscreteScheduler": Family(samplers.named("euler"), whole=False),
    "EulerAncestralDiscreteScheduler": Family(samplers.named("euler-ancestral"), whole=False),
    "HeunDiscreteScheduler": Family(samplers.named("heun"), whole=False, clips=False, betas=HEUN),
    "DPMSolverMultistepScheduler": Family(samplers.dpm_solver, spare=True),
    "UniPCMultistepScheduler": Family(samplers.unipc, spare=True),
    "DPMSolverSinglestepScheduler": Family(samplers.stand_in("dpmpp-2m"), spare=True),
    "DEISMultistepScheduler": Family(samplers.stand_in("dpmpp-2m"), spare=True),
    "LMSDiscreteScheduler": Family(samplers.stand_in("euler"), whole=False),
    "KDPM2DiscreteScheduler": Family(samplers.stand_in("heun"), whole=False, betas=HEUN),
    "KDPM2AncestralDiscreteScheduler": Family(samplers.stand_in("euler-ancestral"), whole=False, betas=HEUN),
    "DPMSolverSDEScheduler": Family(samplers.stand_in("dpmpp-2m-sde"), whole=False, betas=HEUN),
}
