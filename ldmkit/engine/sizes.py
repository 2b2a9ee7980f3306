"""The size of pictures and latents: what a recipe, its data or a condition say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmkit.engine.parts import Parts
from ldmkit.engine.whole_numbers import is_whole
from ldmkit.errors import UserError
from ldmkit.types import Conditions, Latent


def latent_size(system: Parts, size: tuple[int, int] | None) -> tuple[int, int]:
    """The latent's (h, w) for a picture size, by default the recipe's or its data's."""
    size = known_size(system) if size is None else size
    if size is None:
        raise UserError("no picture size: set sample.size to [height, width]")
    factor = system.compression.latent.factor
    if not isinstance(size, tuple | list) or len(size) != 2 or not all(map(is_whole, size)):
        raise UserError(f"size {size!r}: expects (height, width)")
    size = int(size[0]), int(size[1])
    if any(s % factor or s < factor for s in size):
        raise UserError(f"size {size[0]}x{size[1]}: each side must be a multiple of {factor}")
    return size[0] // factor, size[1] // factor


def misfit(
    system: Parts, latent: Latent, error: ValueError, conditions: Conditions | None = None
) -> UserError:
    """What the denoiser says of a latent that it cannot take, with the size of its picture and the condition
    that it has this size from."""
    mapped = (f", that of condition '{n}'" for n, c in (conditions or {}).items() if c.concat is not None)
    factor, slot = system.compression.latent.factor, system.recipe.denoiser
    of = f" (a position of the latent is {factor}x{factor} pixels)" if factor > 1 else ""
    height, width = (side * factor for side in latent.shape[2:])
    return UserError(
        f"size {height}x{width}{next(mapped, '')}: denoiser ({slot.name if slot else ''}): {error}{of}"
    )


def given_size(system: Parts, conditions: Conditions, noise: Latent | None) -> tuple[int, int] | None:
    """The picture's (height, width) that noise or a condition's map asks for; None where neither is there."""
    maps = [c.concat for c in conditions.values() if c.concat is not None]
    shaped = maps[0] if noise is None and maps else noise
    factor = system.compression.latent.factor
    return None if shaped is None else (shaped.shape[-2] * factor, shaped.shape[-1] * factor)


def check_maps(system: Parts, conditions: Conditions, size: tuple[int, int] | None) -> None:
    """UserError where a condition's map is for pictures of another (height, width) than the one asked for."""
    if size is None:
        return
    latent, factor = latent_size(system, size), system.compression.latent.factor
    for name, condition in conditions.items():
        if condition.concat is not None and condition.concat.shape[2:] != latent:
            (height, width), (h, w) = size, (side * factor for side in condition.concat.shape[2:])
            raise UserError(
                f"size {height}x{width}: condition '{name}' is for pictures of {h}x{w}: leave the size out, "
                "or give the condition at that size"
            )


def known_size(system: Parts) -> tuple[int, int] | None:
    """The pictures' (height, width) that the recipe or its data give."""
    return system.recipe.sample.size or data_size(system)


def data_size(system: Parts) -> tuple[int, int] | None:
    """The size of the recipe's pictures, where its data say one."""
    data = system.recipe.data
    size = _size_in(data.parameters) if data else None
    return None if size is None else (size, size)


def _size_in(parameters: Mapping[str, Any]) -> int | None:
    """The parameter `size` of a data set, or of the one that it wraps."""
    size = parameters.get("size")
    if isinstance(size, int):
        return size
    nested = (_size_in(value) for value in parameters.values() if isinstance(value, Mapping))
    return next((size for size in nested if size is not None), None)
