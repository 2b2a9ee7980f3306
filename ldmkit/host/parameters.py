"""What a recipe may set of a component, derived from its signature. Imports no torch by itself."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, create_model

from ldmkit.errors import UserError
from ldmkit.hookspecs import Reads
from ldmkit.host.contained import described
from ldmkit.host.descriptions import documented_parameters
from ldmkit.host.registry import SUPPLIED, Entry
from ldmkit.host.signatures import signature_of

OWN_KEYS = {
    "adapter": ("name", "parameters", "weights", "strength", "merge", "train"),
    "conditioner": ("name", "parameters", "dropout"),
    "sampler": ("name", "parameters", "spacing", "steps", "reuse"),
}
"""Keys that a recipe's slot for a kind of component has itself; no parameter may have their names."""

FUNCTIONS = ("sampler", "spacing")
"""Kinds whose component may be a function: its positional parameters are the call's, not build's."""


@dataclass(frozen=True)
class Nested:
    """A parameter that is a component itself (`many`: a list of them)."""

    kind: str
    many: bool
    optional: bool


@dataclass(frozen=True)
class Parameters:
    """A component's signature: what build supplies (and whether it must), what a recipe sets, which of that
    are components, and what is read at those that are paths, where their annotation says it."""

    supplied: Mapping[str, bool]
    model: type[BaseModel]
    nested: Mapping[str, Nested]
    reads: Mapping[str, Reads]


@cache
def parameters_of(entry: Entry) -> Parameters:
    """A component's parameters; imports it.

    Raises UserError naming component and plugin where it cannot be imported or its signature breaks a rule:
    **kwargs, a positional parameter that build does not supply, an annotation without a schema.
    """
    try:
        return _derived(entry.kind, entry.name, entry.load())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may raise anything on import
        raise UserError(
            f"{entry.kind} '{entry.name}' of {entry.distribution} {entry.version} cannot be used: "
            f"{described(error)}"
        ) from error


def _derived(kind: str, name: str, component: Callable[..., Any]) -> Parameters:
    documented = documented_parameters(component)
    supplied, fields, nested, reads = {}, {}, {}, {}
    for parameter, hint in _declared(kind, component):
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            supplied[parameter.name] = parameter.default is inspect.Parameter.empty
            continue
        if hint is None:
            raise TypeError(f"parameter '{parameter.name}' has no annotation")
        slot = _nested(hint)
        if slot:
            nested[parameter.name] = slot
        if said := next(_reads(hint), None):
            reads[parameter.name] = said
        fields[parameter.name] = _field(parameter, _annotation(slot) if slot else hint, documented)
    return Parameters(supplied, _model(kind, name, fields), nested, reads)


def _declared(kind: str, component: Callable[..., Any]) -> list[tuple[inspect.Parameter, Any]]:
    """The parameters that a recipe or build sets, with annotations, checked against `ldmkit.interfaces`."""
    if not inspect.isclass(component) and kind not in FUNCTIONS:
        raise TypeError(f"{type(component).__name__} refused: only {' and '.join(FUNCTIONS)} may be one")
    declared = signature_of(component)
    for parameter, _ in declared:
        if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            raise TypeError(f"'{str(parameter).partition(':')[0]}' is refused: name every parameter")
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if parameter.name in OWN_KEYS.get(kind, ("name", "parameters")):
                raise TypeError(f"parameter '{parameter.name}' has the name of a key that every {kind} has")
        elif inspect.isclass(component) and parameter.name not in SUPPLIED:
            raise TypeError(
                f"positional parameter '{parameter.name}' is not supplied by build ({', '.join(SUPPLIED)}); "
                "make what a recipe sets keyword-only"
            )
    if inspect.isclass(component):
        return declared
    return [(p, hint) for p, hint in declared if p.kind is inspect.Parameter.KEYWORD_ONLY]


def _field(parameter: inspect.Parameter, annotation: Any, documented: Mapping[str, str]) -> tuple[Any, Any]:
    default = ... if parameter.default is inspect.Parameter.empty else parameter.default
    return annotation, Field(default, description=documented.get(parameter.name))


def _model(kind: str, name: str, fields: dict[str, Any]) -> type[BaseModel]:
    config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=False,
        protected_namespaces=(),
    )
    try:
        return create_model(f"{kind}:{name}", __config__=config, **fields)
    except PydanticUserError as error:
        raise TypeError(error.message.splitlines()[0]) from error


class _Reference(BaseModel):
    """The form of a nested component in a recipe: `{name: ..., parameters...}`; checked by its own schema."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str


def _annotation(slot: Nested) -> Any:
    """The type of a nested component's field; its JSON schema carries a mark for `ldmkit.recipe.schema`."""
    one: Any = Annotated[_Reference, Field(json_schema_extra={"x-kind": slot.kind})]
    annotation: Any = tuple[one, ...] if slot.many else one
    return annotation | None if slot.optional else annotation


def _reads(annotation: Any) -> Iterator[Reads]:
    """The marks in an annotation, and in those of the model's fields that it names."""
    if isinstance(annotation, Reads):
        yield annotation
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            for one in (field.annotation, *field.metadata):
                yield from _reads(one)
    else:
        for one in typing.get_args(annotation):
            yield from _reads(one)


def _nested(annotation: Any) -> Nested | None:
    """The slot of a Protocol of ldmkit.interfaces, of a tuple of one, or of either or None."""
    from ldmkit.interfaces import KIND_OF  # imports torch

    if typing.get_origin(annotation) is Annotated:
        return _nested(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [a for a in typing.get_args(annotation) if a is not type(None)]
        inner = _nested(members[0]) if len(members) == 1 else None
        return inner and Nested(inner.kind, inner.many, optional=True)
    if typing.get_origin(annotation) in (tuple, collections.abc.Sequence):
        element = _nested(typing.get_args(annotation)[0])
        return element and Nested(element.kind, many=True, optional=False)
    kind = KIND_OF.get(annotation) if isinstance(annotation, type) else None
    return Nested(kind, many=False, optional=False) if kind else None
