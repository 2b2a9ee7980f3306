"""One component of a recipe, built: nested components first, then the class or function itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ldmkit.engine.announced import misannounced
from ldmkit.engine.fitting import misfits, misfits_of_class
from ldmkit.engine.named_files import check_paths
from ldmkit.errors import UserError
from ldmkit.host.contained import described, raised_by_it
from ldmkit.host.parameters import Nested, parameters_of
from ldmkit.host.registry import Registry
from ldmkit.recipe.components import Component
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.resolve import resolve_component
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place, located

LEFT_OUT = "not-in-this-package"
"""The path that a packaged recipe has for files that the package does not hold."""


def build(registry: Registry, kind: str, component: Component, **supplied: Any) -> Any:
    """The component made with its recipe's parameters and, of `supplied`, what its constructor asks for.

    Paths are completed with the folder of the recipe that they stand in. Functions (samplers, spacings)
    become partials of their parameters. Raises UserError for parameters that do not fit, and for what the
    constructor raises: a ValueError in plain words, a UserError (a file that cannot be read), torch's errors.
    Here it gets the component's kind and name and its place in the recipe.
    """
    if component.checked.parameters is None:
        component = resolve_component(kind, component, registry)
    entry = registry.get(kind, component.name)
    declared, checked = parameters_of(entry), component.checked
    values = {key: located(value, checked.folder) for key, value in checked.values.items()}
    _check_held(kind, component, values)
    for key, slot in declared.nested.items():
        values[key] = _nested(registry, slot, checked.nested[key], supplied)
    constructor = entry.load()
    if not inspect.isclass(constructor):
        return _fitting(kind, component, partial(constructor, **values))
    handed = {name: supplied[name] for name in declared.supplied if name in supplied}
    for name, required in declared.supplied.items():
        if required and name not in handed:
            raise component_error(kind, component, f"needs '{name}', which this place does not supply")
    try:
        # A data set looks at the files of its folder itself, and may leave some out.
        check_paths(values, declared.reads, inside=kind != "data")
        built = constructor(**handed, **values)
    except (UserError, ValueError) as error:
        raise component_error(kind, component, str(error) or type(error).__name__) from error
    except BaseException as error:  # a stranger's constructor may raise anything
        if not raised_by_it(error):
            raise
        raise component_error(kind, component, _reason(error)) from error
    return _fitting(kind, component, built)


def _reason(error: BaseException) -> str:
    """An unexpected error in words; torch's has frames of C++ below its first line."""
    if isinstance(error, RuntimeError | OverflowError | MemoryError):
        return str(error).partition("\n")[0] or type(error).__name__
    if isinstance(error, TypeError) and "Overflow when unpacking" in str(error):
        return "a size is too large for any tensor"
    return described(error)


def check_classes(recipe: Recipe, registry: Registry) -> None:
    """UserError for a component whose class has methods that take other arguments than its Protocol says.

    Of all components, those that are built only later (metrics, callbacks, data) among them.
    """

    def look(place: Place, kind: str, component: Component) -> Component:
        loaded = registry.get(kind, component.name).load()
        if wrong := misfits_of_class(kind, loaded):
            raise component_error(kind, component, f"does not fit ldmkit.interfaces: {'; '.join(wrong[:4])}")
        for key, slot in parameters_of(registry.get(kind, component.name)).nested.items():
            for one in _each(component.checked.nested.get(key)):
                look(place, slot.kind, one)
        return component

    replace_components(recipe, look)


def _each(value: Any) -> Sequence[Component]:
    """The nested components of one parameter."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _fitting(kind: str, component: Component, built: Any) -> Any:
    """The component as it was built; UserError where it does not fit the Protocol of its kind."""
    wrong = misfits(kind, built) or misannounced(kind, built)
    if wrong:
        raise component_error(kind, component, f"does not fit ldmkit.interfaces: {'; '.join(wrong[:4])}")
    return built


def component_error(kind: str, component: Component, message: str) -> UserError:
    """A component's own error message after its place in the recipe, its kind and its name."""
    where = component.checked.where
    return UserError(f"{f'{where}: ' if where else ''}{kind} ({component.name}): {message}")


def _check_held(kind: str, component: Component, values: Mapping[str, Any]) -> None:
    """UserError for a path of files that the recipe's package does not hold."""
    for key, value in values.items():
        if isinstance(value, Path) and value.name == LEFT_OUT:
            why = f"the package does not hold the data: set {key} to where they are"
            raise component_error(kind, component, why)


def _nested(registry: Registry, slot: Nested, value: Any, supplied: dict[str, Any]) -> Any:
    if value is None:
        return None
    if slot.many:
        return tuple(build(registry, slot.kind, one, **supplied) for one in value)
    return build(registry, slot.kind, value, **supplied)
