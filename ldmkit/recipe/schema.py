"""The JSON Schema of whole recipes, with every installed component: for editors. Imports the components."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ldmkit.errors import UserError
from ldmkit.host.catalogue import WITHOUT_PARAMETERS
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import KINDS, Entry, Registry
from ldmkit.recipe.components import Component, Part
from ldmkit.recipe.model import AdapterSlot, ConditionerSlot, Recipe, SamplerSlot
from ldmkit.recipe.names import defaults, with_defaults

SLOTS: dict[str, type[Component]] = {
    "conditioner": ConditionerSlot,
    "sampler": SamplerSlot,
    "adapter": AdapterSlot,
}
"""Kinds whose slot in a recipe has keys of its own."""

UNNAMED = ("keymap", *WITHOUT_PARAMETERS)
"""Kinds that no recipe names."""


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12); a component that cannot be used is described as such, and left open."""
    kinds = {kind: _kind(kind, registry) for kind in KINDS if kind not in UNNAMED}
    named = {_key(e): _component(e, registry) for e in registry if e.kind in kinds}
    schema = Recipe.model_json_schema()
    _name_defaults(schema, defaults(registry))
    for slot in SLOTS.values():
        schema["$defs"] = {**slot.model_json_schema().get("$defs", {}), **schema["$defs"]}
    schema["$defs"] |= {**kinds, **named}
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "A recipe whose sections this one has too.",
    }
    schema["required"] = [key for key in schema["required"] if key != "compression"]
    schema["anyOf"] = [{"required": [key]} for key in ("compression", "extends", "weights")]
    finished: dict[str, Any] = _finished(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **finished}


def _key(entry: Entry) -> str:
    return f"{entry.kind}:{entry.name}"


def _kind(kind: str, registry: Registry) -> dict[str, Any]:
    """A bare name, or a mapping whose `name` decides which other keys there are."""
    names = registry.names(kind)
    cases = [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"$ref": f"#/$defs/{kind}:{_escaped(name)}"},
        }
        for name in names
    ]
    mapping = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": names}},
        "allOf": cases,
    }
    if not cases:
        del mapping["allOf"]
    return {"description": KINDS[kind], "anyOf": [{"enum": names}, mapping]}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _component(entry: Entry, registry: Registry) -> dict[str, Any]:
    try:
        model = parameters_of(entry).model
    except UserError as error:
        return {"type": "object", "description": str(error)}
    place = f"#/$defs/{entry.kind}:{_escaped(entry.name)}/$defs/{{model}}"
    schema = model.model_json_schema(ref_template=place)
    own = _own_properties(entry.kind, registry)
    return {
        **schema,
        "title": entry.name,
        "description": f"{entry.summary} ({entry.distribution} {entry.version})",
        "properties": {"name": {"const": entry.name}, **own, **schema.get("properties", {})},
        "required": ["name", *schema.get("required", [])],
    }


def _own_properties(kind: str, registry: Registry) -> dict[str, Any]:
    slot = SLOTS.get(kind, Component)
    schema = slot.model_json_schema()
    part: type[Part] = slot
    _name_defaults(schema, with_defaults(part.model_construct(), registry))
    return {k: v for k, v in schema["properties"].items() if k not in ("name", "parameters")}


def _name_defaults(schema: dict[str, Any], part: Part) -> None:
    """Puts the defaults of kinds, which the model does not name, into the schema of a part."""
    for name, about in schema["properties"].items():
        component = getattr(part, name, None)
        if isinstance(component, Component):
            about["default"] = component.model_dump()


def _finished(schema: Any) -> Any:
    """References for the marks of kinds, defaults as a recipe writes them, no titles that repeat a key."""
    if isinstance(schema, list):
        return [_finished(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return dict(_pairs(schema))


def _pairs(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "x-kind" in schema:
        yield "$ref", f"#/$defs/{schema['x-kind']}"
        kept = ("default", "description")
        schema = {k: v for k, v in schema.items() if k in kept}
    for key, value in schema.items():
        if key == "properties":
            yield key, {name: _finished(_untitled(one)) for name, one in value.items()}
        elif key == "default":
            yield key, _default(value)
        else:
            yield key, _finished(value)


def _untitled(schema: Any) -> Any:
    return {k: v for k, v in schema.items() if k != "title"} if isinstance(schema, dict) else schema


def _default(value: Any) -> Any:
    if isinstance(value, dict) and "name" in value and "parameters" in value:
        own = {k: _default(v) for k, v in value.items() if k != "parameters"}
        return {**own, **value["parameters"]}
    return value
