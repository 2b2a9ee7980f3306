"""One scheduler's entries: each is taken over, or left aside with a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BETAS = {"scaled_linear": "scaled-linear", "linear": "linear", "squaredcos_cap_v2": "cosine"}
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

KARRAS = ("Euler", "Heun", "LMS", "KDPM2", "KDPM2Ancestral")
MULTISTEP = ("DPMSolverMultistep", "UniPCMultistep")
MORE = (*MULTISTEP, "DPMSolverSinglestep", "DEISMultistep")
OWN: Mapping[str, tuple[str, ...]] = {
    key: tuple(f"{name}Scheduler" for name in names)
    for key, names in {
        "clip_sample": ("DDIM", "DDPM", "HeunDiscrete"),
        "clip_sample_range": ("DDIM", "DDPM", "HeunDiscrete"),
        "set_alpha_to_one": ("DDIM", "PNDM"),
        "thresholding": ("DDIM", "DDPM", *MORE, "EDMDPMSolverMultistep"),
        "variance_type": ("DDPM", "DPMSolverMultistep", "DPMSolverSinglestep"),
        "rescale_betas_zero_snr": ("DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", *MULTISTEP),
        "final_sigmas_type": (
            "EulerDiscrete", *MULTISTEP, "DPMSolverSinglestep", "EDMEuler", "EDMDPMSolverMultistep",
        ),
        "use_karras_sigmas": (
            *(f"{name}Discrete" for name in KARRAS), *MORE, "DPMSolverSDE", "FlowMatchEulerDiscrete",
        ),
        "use_flow_sigmas": MORE,
        "solver_order": (*MORE, "EDMDPMSolverMultistep"),
        "algorithm_type": (
            "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "EDMDPMSolverMultistep",
        ),
        "skip_prk_steps": ("PNDM",),
    }.items()
}  # fmt: skip
"""Entries that some classes alone have; others pass over them, as over what another scheduler left there."""


@dataclass
class Reading:
    """The recipe's entries of one scheduler.

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
        """The value of an entry, which then counts as read; the default where it is absent or null."""
        self.read.add(key)
        value = self.config.get(key)
        return default if value is None else value

    def took(self, key: str, as_what: str) -> None:
        """Notes that an entry was taken over as something else."""
        self.read.add(key)
        self.notes.append(
            f"scheduler: {key} {_short(self.config.get(key, 'by default'))} taken over as {as_what}"
        )

    def left(self, key: str, why: str) -> None:
        """Notes that an entry is not taken over."""
        self.read.add(key)
        self.notes.append(
            f"left aside: scheduler's {key} {_short(self.config.get(key, 'by default'))} ({why})"
        )


def pass_over_others(reading: Reading) -> None:
    """Leaves out the entries that the class has not, with a line for each that asks for something."""
    strange = [key for key in reading.config if reading.name not in OWN.get(key, (reading.name,))]
    for key in strange:
        if key not in BOOKKEEPING and not _idle(reading, key, reading.config[key]):
            reading.left(key, f"{reading.name} has no such entry")
    reading.config = {key: value for key, value in reading.config.items() if key not in strange}


def leave_others(reading: Reading) -> None:
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
