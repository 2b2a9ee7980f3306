"""Components and their parameters in words, as the command line and the docs show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from ldmkit.errors import UserError
from ldmkit.host.descriptions import field_type
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import Entry, Registry

WITHOUT_PARAMETERS = ("weights", "verb", "recipe")
"""Kinds whose entries are files or commands, not components with a constructor."""


@dataclass(frozen=True)
class Parameter:
    """A parameter in words; `default` is JSON, or "required"."""

    name: str
    type: str
    default: str
    meaning: str


def parameters(entry: Entry) -> list[Parameter]:
    """The parameters of a component, in their order; imports it. UserError where it cannot be imported."""
    if entry.kind in WITHOUT_PARAMETERS:
        return []
    declared = parameters_of(entry)
    rows = []
    for name, field in declared.model.model_fields.items():
        nested = declared.nested.get(name)
        kind = f"list of {nested.kind}" if nested and nested.many else nested.kind if nested else ""
        default = "required" if field.is_required() else json.dumps(to_jsonable_python(field.default))
        rows.append(Parameter(name, kind or field_type(field), default, field.description or ""))
    return rows


def described(registry: Registry, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """Every component (of one kind) as plain values; one that cannot be imported carries its `error`."""
    for entry in registry:
        if kind not in (None, entry.kind):
            continue
        about = {k: v for k, v in asdict(entry).items() if k != "target"}
        try:
            yield {**about, "parameters": [asdict(p) for p in parameters(entry)]}
        except UserError as error:
            yield {**about, "error": str(error)}
