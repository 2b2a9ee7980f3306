"""Checks a component against the Protocol of its kind: its members and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

from torch import nn

from ldmkit import interfaces

PROTOCOLS = {kind: protocol for protocol, kind in interfaces.KIND_OF.items()}


class _Conditioner:
    def default(self, count: Any, size: Any) -> Any: ...

    def unread(self, raw: Any) -> Any: ...


class _Denoiser:
    def bind_reusing(self, condition: Any, interval: Any) -> Any: ...


class _Guidance:
    def check_inputs(self, raw: Any, size: Any) -> None: ...

    def finish(self, image: Any, request: Any) -> Any: ...


class _Dataset:
    def aligned(self, kinds: Any) -> Any: ...

    def view(self, index: Any, fields: Any, key: Any) -> Any: ...

    def shown(self, index: Any) -> Any: ...

    def name(self, index: Any) -> Any: ...


OPTIONAL = {"conditioner": _Conditioner, "denoiser": _Denoiser, "guidance": _Guidance, "data": _Dataset}
"""The methods that a component may have besides those of its Protocol, see `ldmkit.interfaces`."""


def misfits(kind: str, component: Any) -> list[str]:
    """What a component lacks of its kind's Protocol, or takes other arguments for; empty where it fits.

    Only what can be seen without calling it: members by name, and the number of positional arguments.
    """
    protocol, optional = PROTOCOLS.get(kind), OPTIONAL.get(kind)
    if protocol is None:
        return []
    if interfaces.Module in protocol.__mro__ and not isinstance(component, nn.Module):
        return ["is no torch.nn.Module"]
    further = [] if optional is None else list(_compared_optional(optional, component))
    return misfits_of(protocol, component) + further


def misfits_of(protocol: type, component: Any) -> list[str]:
    """The same for a Protocol."""
    return [m for m in _misfits(protocol, component) if m]


def misfits_of_class(kind: str, component: Any) -> list[str]:
    """What the methods of a class take other arguments for, before one is built; empty for a function.

    A method that is missing may be set by the constructor, unless it is the one that a call runs.
    """
    protocol = PROTOCOLS.get(kind)
    if protocol is None or not inspect.isclass(component):
        return []
    return [m for m in _misfits_of_class(protocol, component) if m]


def _misfits_of_class(protocol: type, component: type) -> Iterator[str | None]:
    for name, declared in _members(protocol):
        called = "forward" if name == "__call__" and issubclass(component, nn.Module) else name
        method = next((vars(c)[called] for c in component.__mro__ if called in vars(c)), None)
        if declared is not None and inspect.isfunction(method):
            yield _compared(name, declared, partial(method, None))
        elif name == "__call__" and method is None:
            yield "cannot be called"


def _misfits(protocol: type, component: Any) -> Iterator[str | None]:
    for name, declared in _members(protocol):
        if declared is None:
            yield None if _has(component, name) else f"has no '{name}'"
        else:
            yield _compared(name, declared, _method(component, name))


def _compared_optional(optional: type, component: Any) -> Iterator[str]:
    """The misfits among the methods that a component need not have."""
    for name, declared in _members(optional):
        if declared is not None and getattr(component, name, None) is not None:
            wrong = _compared(name, declared, _method(component, name))
            if wrong is not None:
                yield wrong


@lru_cache
def _members(protocol: type) -> tuple[tuple[str, inspect.Signature | None], ...]:
    """(name, signature) of what a Protocol declares; None for attributes and properties."""
    own = {n: m for c in reversed(protocol.__mro__) if c is not object for n, m in vars(c).items()}
    methods = {n: m for n, m in own.items() if inspect.isfunction(m) and n not in _OF_EVERY_PROTOCOL}
    attributes = {n: None for n, m in own.items() if isinstance(m, property)}
    attributes |= dict.fromkeys(vars(protocol).get("__annotations__", {}))
    return (*attributes.items(), *((n, inspect.signature(m)) for n, m in methods.items()))


_OF_EVERY_PROTOCOL = frozenset({"__init__", "__subclasshook__", "_no_init_or_replace_init"})


def _has(component: Any, name: str) -> bool:
    """Is there such a member? A property is not asked for its value, which may take long to compute."""
    return hasattr(type(component), name) or hasattr(component, name)


def _method(component: Any, name: str) -> Callable[..., Any] | None:
    """What runs when that member is called; nn.Module's __call__ runs `forward`."""
    if name == "__call__":
        if isinstance(component, nn.Module):
            name = "forward"
        elif inspect.isfunction(component) or isinstance(component, partial):
            return component
    attribute = getattr(type(component), name, None)
    return (
        getattr(component, name, None)
        if callable(attribute) or callable(getattr(component, name, None))
        else None
    )


def _compared(name: str, declared: inspect.Signature, method: Callable[..., Any] | None) -> str | None:
    shown = "it" if name == "__call__" else f"'{name}'"
    if method is None or getattr(method, "__func__", None) is nn.Module.forward:
        return "cannot be called" if name == "__call__" else f"has no method {shown}"
    names = [p.name for p in declared.parameters.values() if p.name != "self"]
    try:
        signature = inspect.signature(method)
    except (ValueError, TypeError):  # a builtin that tells nothing of itself
        return None
    try:
        signature.bind(*names)
    except TypeError as error:
        return f"{shown} is called with ({', '.join(names)}), but takes {_shown(signature)}: {error}"
    return None


def _shown(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"
