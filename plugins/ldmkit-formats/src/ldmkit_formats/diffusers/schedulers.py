"""scheduler_config.json of Hugging Face folders: every entry is taken over, or left aside with a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ldmkit.errors import UserError, did_you_mean

BETAS = {"scaled_linear": "linear-beta", "linear": "sqrt-linear", "squaredcos_cap_v2": "cosine"}
"""Their names for the schedules; "linear" is linear in beta itself there."""
OBJECTIVES = {"epsilon": "epsilon", "sample": "x0", "v_prediction": "v"}
BOOKKEEPING = {"_class_name", "_diffusers_version", "_use_default_values", "_name_or_path", "skip_prk_steps"}
WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "clip_sample": (False,), "thresholding": (False,), "trained_betas": (None,), "euler_at_final": (False,),
    "use_karras_sigmas": (False,), "use_exponential_sigmas": (False,), "use_beta_sigmas": (False,),
    "use_lu_lambdas": (False,), "use_flow_sigmas": (False,), "flow_shift": (1, 1.0), "predict_x0": (True,),
    "use_dynamic_shifting": (False,), "disable_corrector": ([],), "solver_p": (None,), "sigma_min": (None,),
    "sigma_max": (None,), "interpolation_type": ("linear",), "timestep_type": ("discrete",),
    "lambda_min_clipped": (None, "-inf", float("-inf")), "shift_terminal": (None, 0),
    "invert_sigmas": (False,), "stochastic_sampling": (False,), "rescale_betas_zero_snr": (False,),
    "lower_order_final": (True,), "solver_type": ("midpoint", "bh2"), "variance_type": (None,),
}  # fmt: skip
"""Values at which an entry asks for nothing; any other value that no rule takes over is told."""
DEPENDENT = {
    "dynamic_thresholding_ratio": "thresholding", "sample_max_value": "thresholding",
    "clip_sample_range": "clip_sample", "base_shift": "use_dynamic_shifting",
    "max_shift": "use_dynamic_shifting", "base_image_seq_len": "use_dynamic_shifting",
    "max_image_seq_len": "use_dynamic_shifting", "time_shift_type": "use_dynamic_shifting",
}  # fmt: skip
"""Entries that count only beside another that is true."""


@dataclass
class Reading:
    """What becomes of one scheduler.

    recipe: its schedule, objective, sampler and guidance. notes: a line for each entry that was taken over
    as something else than it is called, or left aside. read: entries that are dealt with.
    """

    config: Mapping[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The scheduler's class."""
        return str(self.config.get("_class_name"))

    def get(self, key: str, default: Any = None) -> Any:
        """An entry, which is dealt with then; an entry that is absent or null has its default."""
        self.read.add(key)
        value = self.config.get(key)
        return default if value is None else value

    def took(self, key: str, as_what: str) -> None:
        """Says what became of an entry."""
        self.read.add(key)
        self.notes.append(
            f"scheduler: {key} {_short(self.config.get(key, 'by default'))} taken over as {as_what}"
        )

    def left(self, key: str, why: str) -> None:
        """Says that an entry is not taken over."""
        self.read.add(key)
        self.notes.append(
            f"left aside: scheduler's {key} {_short(self.config.get(key, 'by default'))} ({why})"
        )


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


def read_scheduler(config: Mapping[str, Any], out_channels: int, channels: int) -> Reading:
    """The recipe's part of a scheduler; UserError where no schedule or objective here is its like.

    out_channels: what the network puts out for a latent of `channels`.
    """
    reading = Reading(config, read=set(BOOKKEEPING))
    try:
        _read(reading, out_channels == 2 * channels)
    except (ValueError, TypeError, ArithmeticError) as error:  # foreign values of any type
        raise UserError(f"scheduler '{reading.name}': an entry has no sensible value ({error})") from error
    _leave_others(reading)
    return reading


def _read(reading: Reading, learned: bool) -> None:
    if reading.name in CONTINUOUS:
        CONTINUOUS[reading.name](reading)
    elif reading.name in FAMILIES:
        _table(reading, learned)
    else:
        known = [*FAMILIES, *CONTINUOUS]
        raise UserError(
            f"scheduler '{reading.name}' has no counterpart here: {', '.join(known)}"
            f"{did_you_mean(reading.name, known)}; put one of them into the scheduler folder"
        )


def _table(reading: Reading, learned: bool) -> None:
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
    _bounds(reading, family)


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


def _bounds(reading: Reading, family: Family) -> None:
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


def _flow_match(reading: Reading) -> None:
    shift, T = float(reading.get("shift", 1.0)), reading.get("num_train_timesteps", 1000)
    if T != 1000:
        raise UserError(f"scheduler: num_train_timesteps {T}: flow here tells the network 1000 t")
    reading.recipe |= {
        "schedule": {"name": "flow", "shift": shift},
        "objective": {"name": "flow"},
        # Its last visited level is 1/T, shifted once there and, like all others, once more by the schedule.
        "sampler": {
            "name": "euler",
            "spacing": {"name": "linspace", "lowest": shift / T / (1 + (shift - 1) / T)},
        },
    }


def _edm(reading: Reading) -> None:
    if reading.get("prediction_type", "epsilon") != "epsilon":
        raise UserError(
            "scheduler: EDM with prediction_type v_prediction is not known: its output has the other sign"
        )
    sampler = {"name": "euler"} if reading.name == "EDMEulerScheduler" else _dpm_solver(reading)
    ends = {key: float(reading.get(key, value)) for key, value in (("sigma_min", 0.002), ("sigma_max", 80.0))}
    spacing: dict[str, Any] = {"name": "karras", "rho": float(reading.get("rho", 7.0))}
    if reading.get("sigma_schedule", "karras") == "exponential":
        spacing = {"name": "linspace"}
        reading.took("sigma_schedule", "spacing linspace, even in ln sigma")
    if reading.get("final_sigmas_type", "zero") == "sigma_min":
        spacing["end"] = "first"
        reading.took("final_sigmas_type", "spacing.end first")
    reading.read.add("num_train_timesteps")
    reading.recipe |= {
        "schedule": {"name": "edm", **ends},
        "objective": {"name": "edm", "sigma_data": float(reading.get("sigma_data", 0.5))},
        "sampler": {**sampler, "spacing": spacing},
    }
    _bounds(reading, Family(_named("euler")))


def _named(name: str) -> Callable[[Reading], dict[str, Any]]:
    return lambda reading: {"name": name}


def _ddpm(reading: Reading) -> dict[str, Any]:
    kind = reading.get("variance_type", "fixed_small")
    if kind == "fixed_large":
        reading.took("variance_type", "sampler.variance large")
        return {"name": "ddpm", "variance": "large"}
    if kind == "fixed_large_log":
        reading.left("variance_type", "sampler.variance small stands in")
    return {"name": "ddpm"}


def _plms(reading: Reading) -> dict[str, Any]:
    if not reading.config.get("skip_prk_steps", False):
        reading.left("skip_prk_steps", "no Runge-Kutta steps at the start; sampler plms starts as published")
    return {"name": "plms"}


def _dpm_solver(reading: Reading) -> dict[str, Any]:
    algorithm, order = reading.get("algorithm_type", "dpmsolver++"), reading.get("solver_order", 2)
    if algorithm not in ("dpmsolver++", "sde-dpmsolver++"):
        reading.left("algorithm_type", "sampler dpmpp-2m, on the clean estimate, stands in")
    if order != 2:
        if order == 1 and algorithm == "dpmsolver++":
            reading.took("solver_order", "sampler euler, the same step")
            return {"name": "euler"}
        reading.left("solver_order", "sampler dpmpp-2m has order 2")
    return {"name": "dpmpp-2m-sde" if algorithm == "sde-dpmsolver++" else "dpmpp-2m"}


def _unipc(reading: Reading) -> dict[str, Any]:
    order = reading.get("solver_order", 2)
    if order > 4:
        reading.left("solver_order", "sampler unipc goes to 4")
    return {"name": "unipc", "order": min(order, 4)}


def _stand_in(name: str) -> Callable[[Reading], dict[str, Any]]:
    def sampler(reading: Reading) -> dict[str, Any]:
        reading.notes.append(f"left aside: scheduler {reading.name} as sampler; {name} stands in")
        reading.read |= {"solver_order", "algorithm_type", "solver_type"}
        return {"name": name}

    return sampler


HEUN = (0.00085, 0.012)
FAMILIES: Mapping[str, Family] = {
    "DDIMScheduler": Family(
        _named("ddim"), "leading", alpha_to_one=True, clips=True, noise="keep", chained=False
    ),
    "DDPMScheduler": Family(_ddpm, "leading", clips=True),
    "PNDMScheduler": Family(_plms, "leading", alpha_to_one=False, chained=False),
    "EulerDiscreteScheduler": Family(_named("euler"), whole=False),
    "EulerAncestralDiscreteScheduler": Family(_named("euler-ancestral"), whole=False),
    "HeunDiscreteScheduler": Family(_named("heun"), whole=False, clips=False, betas=HEUN),
    "DPMSolverMultistepScheduler": Family(_dpm_solver, spare=True),
    "UniPCMultistepScheduler": Family(_unipc, spare=True),
    "DPMSolverSinglestepScheduler": Family(_stand_in("dpmpp-2m"), spare=True),
    "DEISMultistepScheduler": Family(_stand_in("dpmpp-2m"), spare=True),
    "LMSDiscreteScheduler": Family(_stand_in("euler"), whole=False),
    "KDPM2DiscreteScheduler": Family(_stand_in("heun"), whole=False, betas=HEUN),
    "KDPM2AncestralDiscreteScheduler": Family(_stand_in("euler-ancestral"), whole=False, betas=HEUN),
    "DPMSolverSDEScheduler": Family(_stand_in("dpmpp-2m-sde"), whole=False, betas=HEUN),
}
CONTINUOUS: Mapping[str, Callable[[Reading], None]] = {
    "FlowMatchEulerDiscreteScheduler": _flow_match,
    "EDMEulerScheduler": _edm,
    "EDMDPMSolverMultistepScheduler": _edm,
}


def _leave_others(reading: Reading) -> None:
    """A line for each entry that nobody has read and that asks for something."""
    for key, value in reading.config.items():
        if key in reading.read or _idle(reading, key, value):
            continue
        reading.left(str(key), "has no counterpart here" if key in WITHOUT_EFFECT else "not known")


def _idle(reading: Reading, key: str, value: Any) -> bool:
    if key in DEPENDENT:
        return not reading.config.get(DEPENDENT[key])
    return any(value == neutral and type(value) is type(neutral) for neutral in WITHOUT_EFFECT.get(key, ()))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
