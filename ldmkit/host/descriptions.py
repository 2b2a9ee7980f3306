"""A component's parameters in words: docstrings' "Args:" sections, and types as a reader writes them."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import annotated_types
from pydantic.fields import FieldInfo


def documented_parameters(component: Callable[..., Any]) -> dict[str, str]:
    """What "Args:" sections say of each parameter: a function's, or those of a class, its constructor and its
    bases; the nearest counts."""
    if not inspect.isclass(component):
        return _arguments(inspect.getdoc(component) or "")
    meanings: dict[str, str] = {}
    for owner in reversed(component.__mro__):
        for text in (getattr(vars(owner).get("__init__"), "__doc__", None), vars(owner).get("__doc__")):
            meanings |= _arguments(inspect.cleandoc(text)) if isinstance(text, str) else {}
    return meanings


def _arguments(docstring: str) -> dict[str, str]:
    """The entries of a Google-style "Args:" section: `name: meaning`, continued by deeper indentation."""
    lines = iter(docstring.splitlines())
    arguments: dict[str, str] = {}
    if not any(line.strip() == "Args:" for line in lines):
        return arguments
    indent, names = 0, list[str]()
    for line in lines:
        width = len(line) - len(line.lstrip())
        if line.strip() and width == 0:
            break
        indent = indent or width
        head, colon, rest = line.strip().partition(":")
        if width == indent and colon:
            names = [name.split("(")[0].strip() for name in head.split(",")]
            arguments.update(dict.fromkeys(names, rest.strip()))
        elif line.strip():
            arguments.update({name: f"{arguments[name]} {line.strip()}" for name in names})
    return arguments


def field_type(field: FieldInfo) -> str:
    """The type of a model's field, as `int > 0` or `list of (pixel | perceptual)`."""
    return _type(field.annotation) + _limits(field.metadata)


def _type(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type(args[0]) + _limits(args[1:])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(a) for a in args)
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin is tuple and args[-1] is not Ellipsis:
        return f"[{', '.join(_type(a) for a in args)}]"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping of {_type(args[1])}"
    if origin is not None and issubclass(origin, Sequence | set | frozenset):
        return f"list of {_type(args[0])}"
    if annotation in (None, type(None)):
        return "null"
    return str(getattr(annotation, "__name__", annotation))


_SIGNS = {
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Ge: ("ge", ">="),
    annotated_types.Lt: ("lt", "<"),
    annotated_types.Le: ("le", "<="),
    annotated_types.MinLen: ("min_length", "length >="),
    annotated_types.MaxLen: ("max_length", "length <="),
}


def _limits(metadata: Sequence[Any]) -> str:
    """The bounds among a field's metadata, each after a space."""
    text = ""
    for one in metadata:
        marks = one.metadata if isinstance(one, FieldInfo) else [one]
        for mark in marks:
            if type(mark) in _SIGNS:
                name, sign = _SIGNS[type(mark)]
                text += f" {sign} {getattr(mark, name)}"
    return text
