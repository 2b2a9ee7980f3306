"""Schedulers of continuous time: flow matching and EDM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ldmkit.errors import UserError
from ldmkit_formats.diffusers.schedulers import samplers
from ldmkit_formats.diffusers.schedulers.reading import Reading
from ldmkit_formats.diffusers.schedulers.tables import Family, bounds


def _flow_match(reading: Reading) -> None:
    shift, T = float(reading.get("shift", 1.0)), reading.get("num_train_timesteps", 1000)
    if T != 1000:
        raise UserError(f"scheduler: num_train_timesteps {T} cannot be held: flow has 1000")
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
    sampler = {"name": "euler"} if reading.name == "EDMEulerScheduler" else samplers.dpm_solver(reading)
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
    bounds(reading, Family(samplers.named("euler")))


CONTINUOUS: Mapping[str, Callable[[Reading], None]] = {
    "FlowMatchEulerDiscreteScheduler": _flow_match,
    "EDMEulerScheduler": _edm,
    "EDMDPMSolverMultistepScheduler": _edm,
}
