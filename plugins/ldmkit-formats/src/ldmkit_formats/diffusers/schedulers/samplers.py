"""Which of our samplers takes the steps of a scheduler class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ldmkit_formats.diffusers.schedulers.reading import Reading


def named(name: str) -> Callable[[Reading], dict[str, Any]]:
    """The slot of a sampler of this name."""
    return lambda reading: {"name": name}


def ddpm(reading: Reading) -> dict[str, Any]:
    """Ancestral sampling with the class's choice of variance."""
    kind = reading.get("variance_type", "fixed_small")
    if kind == "fixed_large":
        reading.took("variance_type", "sampler.variance large")
        return {"name": "ddpm", "variance": "large"}
    if kind == "fixed_large_log":
        reading.left("variance_type", "sampler.variance small stands in")
    return {"name": "ddpm"}


def plms(reading: Reading) -> dict[str, Any]:
    """PNDM without its Runge-Kutta start; it averages what the network predicts."""
    if not reading.config.get("skip_prk_steps", False):
        reading.left("skip_prk_steps", "no Runge-Kutta steps at the start; sampler plms starts as published")
    velocity = reading.get("prediction_type", "epsilon") == "v_prediction"
    return {"name": "plms", **({"average": "v"} if velocity else {})}


def dpm_solver(reading: Reading) -> dict[str, Any]:
    """DPM-Solver++ of second order, or its SDE form; of first order it is an Euler step."""
    algorithm, order = reading.get("algorithm_type", "dpmsolver++"), reading.get("solver_order", 2)
    if algorithm not in ("dpmsolver++", "sde-dpmsolver++"):
        reading.left("algorithm_type", "sampler dpmpp-2m, on the clean estimate, stands in")
    if order != 2:
        if order == 1 and algorithm == "dpmsolver++":
            reading.took("solver_order", "sampler euler, the same step")
            return {"name": "euler"}
        reading.left("solver_order", "sampler dpmpp-2m has order 2")
    if reading.get("final_sigmas_type", "zero") == "sigma_min" and reading.get("lower_order_final", True):
        reading.left("lower_order_final", "of fewer than 15 steps the last one is of order 1 there, 2 here")
    return {"name": "dpmpp-2m-sde" if algorithm == "sde-dpmsolver++" else "dpmpp-2m"}


def unipc(reading: Reading) -> dict[str, Any]:
    """UniPC of the configured order, up to 4."""
    order = reading.get("solver_order", 2)
    if order > 4:
        reading.left("solver_order", "sampler unipc goes to 4")
    return {"name": "unipc", "order": min(order, 4)}


def stand_in(name: str) -> Callable[[Reading], dict[str, Any]]:
    """Another of ours where there is none of that kind, with a line."""

    def sampler(reading: Reading) -> dict[str, Any]:
        reading.notes.append(f"left aside: scheduler {reading.name} as sampler; {name} stands in")
        reading.read |= {"solver_order", "algorithm_type", "solver_type"}
        return {"name": name}

    return sampler
