"""Checks the attributes that a component states about itself against its Protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from ldmkit.engine.whole_numbers import is_whole
from ldmkit.types import ConditionSpec, FieldKind, LatentSpec


def misannounced(kind: str, component: Any) -> list[str]:
    """The attributes of a component that its Protocol does not allow, in words; empty where all are right."""
    look = _LOOKS.get(kind)
    said = [] if look is None else list(look(component))
    return said if kind in LAZY else [*_without_shape(component), *said]


LAZY = ("auxiliary",)
"""Kinds whose weights may get their shapes in the first call."""


def _without_shape(component: Any) -> Iterator[str]:
    weights = component.named_parameters() if isinstance(component, nn.Module) else ()
    names = [name for name, weight in weights if isinstance(weight, UninitializedParameter)]
    if names:
        yield f"{', '.join(names[:4])}: weights without a shape (of a lazy module): say the sizes"


def _compression(component: Any) -> Iterator[str]:
    latent = component.latent
    if not isinstance(latent, LatentSpec):
        yield f"latent is {_kind(latent)}, no ldmkit.types.LatentSpec"
        return
    for name, value in (("channels", latent.channels), ("factor", latent.factor)):
        if not is_whole(value) or value < 1:
            yield f"latent.{name} is {value!r}, no whole number above 0"
            return
    buffers = dict(component.named_buffers())
    for name in ("scale", "shift"):
        if not isinstance(buffers.get(name), Tensor) or buffers[name].shape != (latent.channels,):
            yield f"{name} is no buffer of {latent.channels} numbers, one a channel"


def _conditioner(component: Any) -> Iterator[str]:
    spec = component.spec
    if not isinstance(spec, ConditionSpec):
        yield f"spec is {_kind(spec)}, no ldmkit.types.ConditionSpec"
        return
    if not _names(spec.fields) or not spec.fields:
        yield f"spec.fields is {spec.fields!r}, no tuple of at least one name"
    for name in ("tokens", "concat", "vector"):
        width = getattr(spec, name)
        if not is_whole(width) or width < 0:
            yield f"spec.{name} is {width!r}, no whole number of at least 0"
    yield from _kinds(spec, "spec.")


def _guidance(component: Any) -> Iterator[str]:
    yield from _optional("fields")(component)
    if hasattr(component, "kinds"):
        yield from _kinds(component, "")


def _kinds(owner: Any, place: str) -> Iterator[str]:
    """The misfits of `owner.kinds`, which says what `owner.fields` hold."""
    if not isinstance(owner.kinds, Mapping):
        yield f"{place}kinds is {_kind(owner.kinds)}, no mapping of fields to what they hold"
        return
    known = get_args(FieldKind)
    for field, holds in owner.kinds.items():
        if field not in getattr(owner, "fields", ()):
            yield f"{place}kinds names '{field}', which is none of {place}fields"
        if holds not in known:
            yield f"{place}kinds says {holds!r} of '{field}'; there are: {', '.join(known)}"


def _schedule(component: Any) -> Iterator[str]:
    steps = component.timesteps
    if steps is not None and (not is_whole(steps) or steps < 1):
        yield f"timesteps is {steps!r}, neither a whole number above 0 nor None"
    if not isinstance(component.zero_snr, bool):
        yield f"zero_snr is {component.zero_snr!r}, neither True nor False"


def _sequence(name: str) -> Callable[[Any], Iterator[str]]:
    """Checks that a member is a sequence of names."""

    def look(component: Any) -> Iterator[str]:
        value = getattr(component, name)
        if not _names(value):
            yield f"{name} is {value!r}, no sequence of names"

    return look


def _optional(name: str) -> Callable[[Any], Iterator[str]]:
    """Checks that a member is a sequence of names where a component has it."""

    def look(component: Any) -> Iterator[str]:
        value = getattr(component, name, ())
        if not _names(value):
            yield f"{name} is {value!r}, no sequence of names"

    return look


_LOOKS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "compression": _compression,
    "conditioner": _conditioner,
    "schedule": _schedule,
    "guidance": _guidance,
    "metric": _optional("reads"),
    "auxiliary": _sequence("layers"),
    "keymap": _sequence("classes"),
}


def _names(value: Any) -> bool:
    return (
        isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(x, str) for x in value)
    )


def _kind(value: Any) -> str:
    return type(value).__name__
