"""What components hand to each other, checked: types, shapes, finite numbers. Each raises ValueError."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ldmkit.types import Estimate, Latent, Level, Levels


def check_levels(levels: Any, steps: int) -> Levels:
    """The levels of a spacing; ValueError where there are not steps + 1, noisiest first."""
    level = check_level("levels", levels, steps + 1)
    if not (level.sigma[1:] * level.alpha[:-1] <= level.sigma[:-1] * level.alpha[1:]).all():
        raise ValueError("levels: the noisiest is not the first, or they do not fall")
    return level


def check_latent(latent: Any, wanted: Tensor) -> None:
    """ValueError where a sampler returns no latent of that shape, or one that is not finite."""
    same("the latent", latent, wanted)
    check_numbers("the latent", latent, tuple(wanted.shape))


def check_level(what: str, level: Any, count: int) -> Level:
    """ValueError unless it is a Level whose fields have `count` finite numbers each."""
    if not isinstance(level, Level):
        raise ValueError(f"{what}: {type(level).__name__} is no ldmkit.types.Level")
    for name in ("alpha", "sigma", "time"):
        check_numbers(f"{what}: {name}", getattr(level, name), (count,))
    return level


def check_estimate(estimate: Any, z: Latent) -> None:
    """ValueError unless it is an Estimate of z."""
    if not isinstance(estimate, Estimate):
        raise ValueError(f"estimate: {type(estimate).__name__} is no ldmkit.types.Estimate")
    same("estimate: clean", estimate.clean, z)
    same("estimate: noise", estimate.noise, z)


def check_numbers(what: str, x: Any, shape: tuple[int, ...]) -> None:
    """ValueError unless `x` is a tensor of finite floating-point numbers in that shape."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{what} is {type(x).__name__}, a tensor is expected")
    if x.shape != shape or not x.is_floating_point():
        raise ValueError(
            f"{what} is {tuple(x.shape)} of {x.dtype}, {shape} of floating-point numbers is expected"
        )
    if not x.isfinite().all():
        raise ValueError(f"{what} is not finite")


def same(what: str, made: Any, wanted: Tensor) -> None:
    """ValueError where `made` is no tensor of the shape of `wanted`."""
    if not isinstance(made, Tensor) or made.shape != wanted.shape:
        raise ValueError(f"{what} is {shape_of(made)}, {shape_of(wanted)} is expected")


def shape_of(x: Any) -> str:
    """A tensor's shape in words; of anything else its type."""
    return "x".join(map(str, x.shape)) if isinstance(x, Tensor) else type(x).__name__
