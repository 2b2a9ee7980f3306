"""What both published configurations of a UNet share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ldmkit.keymaps import refuse, short
from ldmkit.types import ConditionSpec, LatentSpec
from ldmkit_unet.unet import UNet

Value = TypeVar("Value")


def same(name: str, value: Value | Sequence[Value]) -> Value:
    """The one value of an entry that may be a list over the levels; ValueError where the levels differ."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not values or any(v != values[0] for v in values):
        refuse(f"{name}: {value!r} (the UNet has one value for all levels)")
    first: Value = values[0]
    return first


def depth_of(name: str, value: int | Sequence[int], levels: int, attended: Sequence[int]) -> int | list[int]:
    """The UNet's depth: one figure where all levels that attend have the same, else one a level.

    value: the entry `name` of a published configuration. The middle block has the last level's. ValueError
    for a list that is not of as many figures as there are levels.
    """
    if not isinstance(value, Sequence):
        return value
    refuse(f"{name}: {value!r} for {levels} levels" if len(value) != levels else "")
    return value[-1] if len({value[i] for i in [*attended, -1]}) == 1 else list(value)


def cross_only(name: str, flags: Any, levels: int) -> dict[str, Any]:
    """The UNet's `cross_only`: the factors of levels without self-attention.

    flags: the entry `name` of a published configuration, a list of true and false, one a level; None or false
    where all levels have it. ValueError for anything else.
    """
    if flags is None or flags is False:
        return {}
    if not isinstance(flags, Sequence) or len(flags) != levels or not all(type(x) is bool for x in flags):
        refuse(f"{name}: {flags!r} is no list of true and false for {levels} levels")
    return {"cross_only": [2**i for i, flag in enumerate(flags) if flag]}


def check_implied(config: Mapping[str, Any], implied: Mapping[str, Any]) -> None:
    """ValueError for entries of a published configuration that do not follow from the UNet's neighbours.

    implied: what they must be, None or false where the UNet has no such layers.
    """
    problems = []
    for name, own in implied.items():
        value = config.get(name, own)
        per_level = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if any((one or None) != (own or None) for one in per_level):
            problems.append(
                f"{name} is {short(value)}, but this model's latent and conditions give {own or 'none'}"
            )
    refuse(*problems)


def arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All of the constructor's arguments, defaults filled in.

    ValueError where those that build supplies (latent, conditions, out_channels) are missing: the published
    configuration holds what follows from them; also for a patch, which no published format has.
    """
    values = {**parameters}
    for name, parameter in inspect.signature(UNet).parameters.items():
        if name not in values and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"the UNet's published configuration follows from '{name}' too: supply it")
        values.setdefault(name, parameter.default)
    if values["patch"] > 1:
        refuse(f"patch: {values['patch']} (the format has no squares of latent positions)")
    return values


def in_channels(latent: LatentSpec, conditions: ConditionSpec) -> int:
    """Channels of [z_t, concat]."""
    return latent.channels + conditions.concat
