"""One component of a recipe, built: nested components first, then the class or function itself."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from pydantic_core import to_json

from ldmkit.errors import UserError
from ldmkit.host.parameters import Nested, parameters_of
from ldmkit.host.registry import Registry
from ldmkit.recipe.model import Component
from ldmkit.recipe.resolve import resolve_component


def build(registry: Registry, kind: str, component: Component, **supplied: Any) -> Any:
    """The component made with its recipe's parameters and, of `supplied`, what its constructor asks for.

    Functions (samplers, spacings) become partials of their parameters. Raises UserError for parameters that
    do not fit, and for a ValueError that the constructor raises.
    """
    entry = registry.get(kind, component.name)
    declared = parameters_of(entry)
    plain = resolve_component(kind, component, registry).flat()
    keys = declared.model.model_fields
    checked = declared.model.model_validate_json(to_json({k: plain[k] for k in keys}))
    values = {k: getattr(checked, k) for k in keys}
    for key, slot in declared.nested.items():
        values[key] = _nested(registry, slot, plain[key], supplied)
    made = entry.load()
    if not inspect.isclass(made):
        return partial(made, **values)
    handed = {name: supplied[name] for name in declared.supplied if name in supplied}
    for name, required in declared.supplied.items():
        if required and name not in handed:
            raise UserError(f"{kind} ({component.name}): needs '{name}', which this place does not supply")
    try:
        return made(**handed, **values)
    except ValueError as error:
        raise UserError(f"{kind} ({component.name}): {error}") from error


def _nested(registry: Registry, slot: Nested, value: Any, supplied: dict[str, Any]) -> Any:
    if value is None:
        return None
    if slot.many:
        return tuple(build(registry, slot.kind, Component.model_validate(v), **supplied) for v in value)
    return build(registry, slot.kind, Component.model_validate(value), **supplied)
