"""Checks of what components return: types, shapes, finite numbers. Each raises ValueError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ldmkit.engine.fitting import misfits
from ldmkit.types import Condition, ConditionSpec, Estimate, Latent, Level, Levels, Posterior

ROUNDING = 1e-2
"""Of the largest value: what an accelerator that adds up in another order, in half precision, may change."""


def check_levels(levels: Any, steps: int) -> Levels:
    """The levels of a spacing; ValueError where there are not steps + 1, noisiest first."""
    level = check_level("levels", levels, steps + 1)
    if not (level.sigma[1:] * level.alpha[:-1] <= level.sigma[:-1] * level.alpha[1:]).all():
        raise ValueError("levels: the noisiest is not the first, or they do not fall")
    return level


def check_latent(latent: Any, expected: Tensor) -> None:
    """ValueError where a sampler returns no latent of that shape, or one that is not finite."""
    same("the latent", latent, expected)
    check_numbers("the latent", latent, tuple(expected.shape))


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


def check_posterior(posterior: Any, latent: Latent) -> None:
    """ValueError unless it is a Posterior of pictures with latents like these."""
    if not isinstance(posterior, Posterior):
        raise ValueError(f"posterior: {type(posterior).__name__} is no ldmkit.types.Posterior")
    same("posterior: mode", posterior.mode, latent)
    if posterior.std is not None:
        same("posterior: std", posterior.std, latent)
    same("posterior: penalty", posterior.penalty, latent[:, 0, 0, 0])
    if not isinstance(posterior.metrics, Mapping):
        raise ValueError(f"posterior: metrics is {type(posterior.metrics).__name__}, no mapping of names")
    for name, value in posterior.metrics.items():
        same(f"posterior: metrics: {name}", value, latent[0, 0, 0, 0])


def check_condition(what: str, spec: ConditionSpec, condition: Any, count: int) -> None:
    """ValueError unless it is a Condition of `count` pictures with the parts that the spec announces."""
    if not isinstance(condition, Condition):
        raise ValueError(f"{what}: {type(condition).__name__} is no ldmkit.types.Condition")
    for name, dimensions, axis in (("tokens", 3, 2), ("concat", 4, 1), ("vector", 2, 1)):
        width, x = getattr(spec, name), getattr(condition, name)
        if x is None and not width:
            continue
        if not isinstance(x, Tensor) or x.ndim != dimensions or (x.shape[0], x.shape[axis]) != (count, width):
            raise ValueError(
                f"{what}: {name} is {shape_of(x)}, {count} picture{'s' * (count > 1)} of width {width} "
                "announced in spec"
            )
        _check_values(f"{what}: {name}", x)
    mask = condition.mask
    if mask is not None and (condition.tokens is None or mask.shape != condition.tokens.shape[:2]):
        raise ValueError(f"{what}: mask is {shape_of(mask)}, tokens are {shape_of(condition.tokens)}")
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(
            f"{what}: mask is {mask.dtype}, {torch.bool} is expected (True where a token counts)"
        )


def _check_values(what: str, x: Tensor) -> None:
    check_type(what, x)
    _check_finite(what, x)


def check_type(what: str, x: Tensor) -> None:
    """ValueError unless a network whose weights are float32 or smaller can take it."""
    if not x.is_floating_point() or x.dtype == torch.float64:
        raise ValueError(f"{what} is {x.dtype}, {torch.float32} is expected")


def _check_finite(what: str, x: Tensor) -> None:
    if not x.is_meta and not x.isfinite().all():  # on the meta device there are no numbers
        raise ValueError(f"{what} is not finite")


def check_null(null: Any, like: Condition) -> None:
    """ValueError unless a null condition has the shapes of the condition that it replaces."""
    if not isinstance(null, Condition):
        raise ValueError(f"null: {type(null).__name__} is no ldmkit.types.Condition")
    for name in ("tokens", "mask", "concat", "vector"):
        own, other = getattr(null, name), getattr(like, name)
        if shape_of(own) != shape_of(other):
            raise ValueError(f"null: {name} is {shape_of(own)}, {shape_of(other)} is expected")
        if own is not None:
            _check_finite(f"null: {name}", own)


def check_repeated(condition: Condition, again: Condition) -> None:
    """ValueError unless the same input gave the same condition twice, but for rounding."""
    for name in ("tokens", "concat", "vector"):
        first, second = getattr(condition, name), getattr(again, name)
        if first is None or first.is_meta:
            continue
        if float((first - second).abs().max()) > ROUNDING * float(first.abs().max()):
            raise ValueError(
                f"encode: the same input and generator give other {name}, so that no seed would give its "
                "picture again"
            )


def check_dataset(data: Any) -> None:
    """ValueError unless a split of a data set has examples, names of fields and a digest."""
    if wrong := misfits("data", data):
        raise ValueError(f"split: {'; '.join(wrong[:4])}")
    if isinstance(data.fields, str) or not all(isinstance(field, str) for field in data.fields):
        raise ValueError(f"fields is {data.fields!r}, a tuple of names is expected")
    if not isinstance(data.digest, str) or not data.digest:
        raise ValueError(f"digest is {data.digest!r}, a text that names the content is expected")
    if not isinstance(data.skipped, Sequence):
        raise ValueError(f"skipped is {type(data.skipped).__name__}, a sequence of files is expected")
    if len(data) and not isinstance(data[0], Mapping):
        raise ValueError(f"an example is {type(data[0]).__name__}, a mapping of fields is expected")


def check_prepared(prepared: Any, count: int) -> None:
    """ValueError unless it is a dictionary of tensors with a row a picture."""
    if not isinstance(prepared, dict):
        raise ValueError(f"prepare: {type(prepared).__name__} is no dictionary of tensors")
    for name, value in prepared.items():
        if not isinstance(value, Tensor) or value.ndim == 0 or value.shape[0] != count:
            raise ValueError(f"prepare: {name} is {shape_of(value)}, a tensor of {count} rows is expected")


def check_scalar(what: str, value: Any) -> None:
    """ValueError unless it is a tensor of a single number."""
    if not isinstance(value, Tensor) or value.shape != ():
        raise ValueError(f"{what} is {shape_of(value)}, a tensor of a single number is expected")


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


def same(what: str, result: Any, expected: Tensor) -> None:
    """ValueError where `result` is no tensor of the shape of `expected`."""
    if not isinstance(result, Tensor) or result.shape != expected.shape:
        raise ValueError(f"{what} is {shape_of(result)}, {shape_of(expected)} is expected")


def shape_of(x: Any) -> str:
    """A tensor's shape in words; of anything else its type."""
    if not isinstance(x, Tensor):
        return type(x).__name__
    return "x".join(map(str, x.shape)) or "a single number"
