"""Names of components that a recipe leaves out, or writes as they were called in an earlier version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from warnings import warn

from ldmkit.errors import Note
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe.components import Component, Part
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place

P = TypeVar("P", bound=Part)
Tell = Callable[[str], None]
"""tell(text): says that a recipe uses a former name."""


def note(text: str) -> None:
    """Shows the text as a `Note`."""
    warn(text, Note, stacklevel=2)


def nothing(text: str) -> None:
    """A `Tell` that keeps silent."""


def with_defaults(part: P, registry: Registry) -> P:
    """The part with a name for each component that has none: that of its kind's default.

    A component stays without a name where no plugin declares a default of its kind.
    """

    def named(path: Place, kind: str, component: Component) -> Component:
        default = "" if component.name else registry.default(kind)
        return component.model_copy(update={"name": default}) if default else component

    return replace_components(part, named)


def defaults(registry: Registry) -> Recipe:
    """A recipe that holds nothing but defaults."""
    nothing = Recipe.model_construct()  # type: ignore[call-arg]  # what is required stays away
    return with_defaults(nothing, registry)


def todays(entry: Entry, name: str, parameters: Mapping[str, Any], about: str, tell: Tell) -> dict[str, Any]:
    """A component's parameters under the names that they have now; tells each former name, its own too.

    about: the component's place. Raises ValueError where a parameter is there under both of its names.
    """
    if name != entry.name:
        tell(f"{about}: '{name}' is now called '{entry.name}'")
    renamed, parameters = dict(entry.renamed), dict(parameters)
    for former in renamed.keys() & parameters.keys():
        now = renamed[former]
        if now in parameters:
            raise ValueError(f"'{former}' is the former name of '{now}': leave one of them out")
        tell(f"{about}: its '{former}' is now called '{now}'")
        parameters[now] = parameters.pop(former)
    return parameters
