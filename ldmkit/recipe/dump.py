"""A recipe as plain values and as YAML that loads back equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel
from yaml.emitter import Emitter
from yaml.representer import SafeRepresenter
from yaml.resolver import Resolver
from yaml.serializer import Serializer

from ldmkit.errors import UserError, shortened
from ldmkit.recipe.components import Component, named
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.yaml import add_core

DEEPEST = 64
"""How deep a recipe from Python may be nested; files stop earlier."""


def flat(value: Any) -> Any:
    """A recipe, or a part of it, as the mapping that a file would hold; lists are tuples."""
    if isinstance(value, Component):
        return flat(value.flat())
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return {name: flat(part) for name, part in fields.items() if named(part)}
    return plain(value)


def plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """Python values as a recipe's: text, numbers, true, false, null, lists (as tuples) and mappings."""
    if depth > DEEPEST:
        raise UserError(f"recipe: {shortened(path, 100)}: nested deeper than {DEEPEST}")
    if isinstance(value, BaseModel):
        return flat(value)
    if isinstance(value, Mapping):
        return {_key(k, path): plain(v, f"{path}.{k}".lstrip("."), depth + 1) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(plain(v, f"{path}.{i}".lstrip("."), depth + 1) for i, v in enumerate(value))
    if isinstance(value, PurePath):
        return str(value)
    if type(value) is int and abs(value) >= 2**64:
        raise UserError(f"recipe: {path}: a whole number of {value.bit_length()} bits is too large")
    if type(value) is str:
        return _text(value, path)
    if value is None or type(value) in (bool, int, float):
        return value
    raise UserError(f"recipe: {path}: a {type(value).__name__} is not plain data")


def leaves(values: Any, path: str = "", whole: bool = False) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every value in nested mappings and lists.

    whole: a list that holds no mapping is one value.
    """
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."), whole)
    elif _nested(values) and not (whole and not any(isinstance(value, Mapping) for value in values)):
        for i, value in enumerate(values):
            yield from leaves(value, f"{path}.{i}", whole)
    else:
        yield path, values


def _nested(values: Any) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return _text(key, path)
    raise UserError(f"recipe: {path}: key {key!r} is not text")


def _text(text: str, path: str) -> str:
    """The text; UserError for a text that no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"recipe: {path}: {text!r} has a half of a character, which is not text") from None
    return text


class _Quoting(Resolver):
    """Quotes texts that some readers of YAML 1.1 or 1.2 would take for something else."""


add_core(_Quoting)


class _Dumper(Emitter, Serializer, SafeRepresenter, _Quoting):
    """PyYAML's writer of plain data."""

    def __init__(self, stream: StringIO) -> None:
        Emitter.__init__(self, stream, width=100, allow_unicode=True)
        Serializer.__init__(self)
        # The stubs of PyYAML know no None, which writes flat lists on one line.
        SafeRepresenter.__init__(self, default_flow_style=None, sort_keys=False)  # type: ignore[arg-type]
        _Quoting.__init__(self)

    def ignore_aliases(self, data: Any) -> bool:
        """Always true: every value is written out."""
        return True


_Dumper.add_representer(tuple, SafeRepresenter.represent_list)


def dump(recipe: Recipe) -> str:
    """The recipe as YAML that `load` reads back as an equal recipe; keys that are null are left out."""
    stream = StringIO()
    dumper = _Dumper(stream)
    dumper.open()
    dumper.represent({k: v for k, v in flat(recipe).items() if v is not None})
    dumper.close()
    return stream.getvalue()
