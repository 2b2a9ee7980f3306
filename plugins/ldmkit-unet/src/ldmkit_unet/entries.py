"""Published configurations, read strictly: every entry is understood, known to be harmless, or refused."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from ldmkit.types import ConditionSpec, LatentSpec
from ldmkit_unet.unet import UNet

Value = TypeVar("Value")


def refuse_unknown(
    config: Mapping[str, Any],
    understood: Collection[str],
    fixed: Mapping[str, Sequence[Any]],
    harmless: Collection[str],
) -> None:
    """ValueError that names every entry which is neither understood nor harmless nor at a value allowed."""
    problems = []
    for name, value in config.items():
        if name in fixed:
            if not any(value == allowed and type(value) is type(allowed) for allowed in fixed[name]):
                problems.append(f"{name}: {value!r} (the UNet has {fixed[name][0]!r})")
        elif name not in understood and name not in harmless:
            problems.append(f"{name}: {value!r} (unknown)")
    refuse(problems)


def refuse(problems: Sequence[str]) -> None:
    """ValueError of all problems, if there are any."""
    if problems:
        raise ValueError("the UNet cannot be what the configuration says; " + "; ".join(problems))


def same(name: str, value: Value | Sequence[Value]) -> Value:
    """The one value of an entry that may be a list over the levels; ValueError where the levels differ."""
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not values or any(v != values[0] for v in values):
        refuse([f"{name}: {value!r} (the UNet has one value for all levels)"])
    first: Value = values[0]
    return first


def arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All of the constructor's arguments, defaults filled in.

    ValueError where those that build supplies (latent, conditions, out_channels) are missing: the published
    configuration holds what follows from them.
    """
    found = {**parameters}
    for name, parameter in inspect.signature(UNet).parameters.items():
        if name not in found and parameter.default is inspect.Parameter.empty:
            raise ValueError(f"the UNet's published configuration follows from '{name}' too: supply it")
        found.setdefault(name, parameter.default)
    return found


def in_channels(latent: LatentSpec, conditions: ConditionSpec) -> int:
    """Channels of [z_t, concat]."""
    return latent.channels + conditions.concat
