"""The parameters of a component's constructor, those that it passes on to its base classes among them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PASSED_ON = inspect.Parameter.VAR_KEYWORD


def signature_of(component: Callable[..., Any]) -> list[tuple[inspect.Parameter, Any]]:
    """Each parameter of a class's constructor or of a function, with its resolved annotation (None: it has
    none).

    `**options` in a constructor stands for the keyword-only parameters of the next constructor along the
    class's bases, so that what several components share is declared once. A class may declare one of them
    again, with another default. Where no base declares any, `**options` stays in the list.
    """
    if not inspect.isclass(component):
        return list(_parameters(component))
    parameters: dict[str, tuple[inspect.Parameter, Any]] = {}
    for depth, constructor in enumerate(constructors(component)):
        parameters.pop(next((n for n, (p, _) in parameters.items() if p.kind is PASSED_ON), ""), None)
        for parameter, annotation in _parameters(constructor):
            if depth == 0 or parameter.kind in (inspect.Parameter.KEYWORD_ONLY, PASSED_ON):
                parameters.setdefault(parameter.name, (parameter, annotation))
        if not any(parameter.kind is PASSED_ON for parameter, _ in parameters.values()):
            break
    return list(parameters.values())


def constructors(component: type) -> Iterator[Callable[..., Any]]:
    """The constructors that a class and its bases define themselves, the class's own first; torch's, those of
    Protocols and of builtins are none."""
    for owner in component.__mro__:
        foreign = owner.__module__.split(".")[0] in ("torch", "builtins", "typing")
        if "__init__" in vars(owner) and not foreign and not getattr(owner, "_is_protocol", False):
            yield vars(owner)["__init__"]


def defaults_of(component: Callable[..., Any]) -> Mapping[str, Any]:
    """The keyword-only parameters with their defaults (inspect.Parameter.empty where there is none)."""
    declared = [parameter for parameter, _ in signature_of(component)]
    return {p.name: p.default for p in declared if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[inspect.Parameter, Any]]:
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "self":
            yield parameter, hints.get(name)
