"""The second check of a recipe: every component's parameters, nested ones too, with defaults filled in.

Imports the components that the recipe names, and with them torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from ldmkit.errors import UserError
from ldmkit.host import parameters as signatures
from ldmkit.host.parameters import parameters_of
from ldmkit.host.plugins import host
from ldmkit.host.registry import Registry
from ldmkit.recipe.components import Checked, Component, Nested
from ldmkit.recipe.dump import plain
from ldmkit.recipe.model import Recipe
from ldmkit.recipe.names import Tell, note, todays, with_defaults
from ldmkit.recipe.problems import Problem, problems_of, refuse
from ldmkit.recipe.read import load
from ldmkit.recipe.slots import replace_components
from ldmkit.recipe.sources import Place, Source, located

C = TypeVar("C", bound=Component)


def complete(
    source: str | Path | Mapping[str, Any] | Recipe,
    overrides: Sequence[str] = (),
    registry: Registry | None = None,
) -> Recipe:
    """The recipe of a file, a name ("text2img"), a mapping or a Recipe: checked whole, with every default.

    Args:
        source: where the recipe comes from.
        overrides: changes of single values, as "sampler.steps=20".
        registry: the components there are, by default those of the installed plugins.

    Raises UserError with one line for each mistake: place, path in the recipe, message, nearest valid name.
    """
    known = registry or host().registry
    return resolve(load(source, overrides, known), known)


def resolve(recipe: Recipe, registry: Registry, tell: Tell = note) -> Recipe:
    """The recipe with every parameter checked and present, and today's names for former ones, which are told.

    Raises UserError with a line for each problem.
    """
    resolving = _Resolving(registry, recipe.folder, recipe.source, tell)
    resolved = replace_components(recipe, resolving.component)
    refuse(resolving.problems, recipe.source)
    return resolved.with_source(replace(recipe.source, folders={}))


def resolve_component(kind: str, component: C, registry: Registry, folder: Path | None = None) -> C:
    """One component outside a recipe, resolved in the same way, with the components nested in it.

    folder: where its relative paths start, by default the folder of its recipe.
    """
    where = Source(label=component.checked.where)
    resolving = _Resolving(registry, folder or component.checked.folder, where, note)
    component = with_defaults(component, registry)
    inner = replace_components(component, resolving.component, (kind,))
    resolved = resolving.component((kind,), kind, inner)
    refuse(resolving.problems, resolving.source)
    return resolved


@dataclass
class _Resolving:
    """One pass over components; problems are collected."""

    registry: Registry
    folder: Path
    source: Source
    tell: Tell
    problems: list[Problem] = field(default_factory=list)

    def component(self, path: Place, kind: str, component: C) -> C:
        """The component with its parameters as a recipe would hold them, complete, and what was checked."""
        try:
            entry = self.registry.get(kind, component.name)
            declared = parameters_of(entry)
        except UserError as error:
            self.problems.append(Problem(path, str(error)))
            return component
        try:
            parameters = todays(
                entry, component.name, plain(component.parameters), self._where(path), self.tell
            )
        except ValueError as error:
            self.problems.append(Problem(path, str(error), component=entry.name))
            return component
        nested = self._nested(declared.nested, parameters, path)
        values = {**parameters, **{key: _flat(value) for key, value in nested.items()}}
        model = self._validated(declared.model, values, component, path)
        if model is None:
            return component
        omitted = {key: plain(getattr(model, key)) for key in declared.nested.keys() - nested.keys()}
        nested |= self._nested(declared.nested, omitted, path)
        return component.model_copy(update={"name": entry.name}).with_checked(
            Checked(
                self.folder, self.source.where(path), *self._complete(path, values, model, nested), nested
            )
        )

    def _complete(
        self, path: Place, before: Mapping[str, Any], model: BaseModel, nested: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """All parameters plain, and those that are no components as the constructor takes them.

        Plain paths stay as they were written, so that they mean the same elsewhere, but for those of another
        recipe: they start at that one's folder.
        """
        values = {key: getattr(model, key) for key in type(model).model_fields}
        dumped: dict[str, Any] = plain(model.model_dump(mode="json"))
        paths = [key for key, value in values.items() if isinstance(value, Path) and key in before]
        written = {key: before[key] for key in paths}
        for key, value in values.items():
            folder = self.source.folder_of((*path, key))
            if folder != Path() and (there := located(value, folder)) != value:
                values[key], written[key] = there, plain(there)
        parameters = {**dumped, **written, **{key: _flat(value) for key, value in nested.items()}}
        return parameters, {k: v for k, v in values.items() if k not in nested}

    def _where(self, path: Place) -> str:
        """The place in the file, if there is one, and in the recipe."""
        return ": ".join(part for part in (self.source.where(path), ".".join(map(str, path))) if part)

    def _validated(
        self, schema: type[BaseModel], values: Mapping[str, Any], component: Component, path: Place
    ) -> BaseModel | None:
        """The parameters as their schema reads them, defaults filled in; None, and the problems noted, where
        it does not take them."""
        try:
            # As JSON: strict validation takes a list for a tuple, and text for a path, there alone.
            return schema.model_validate_json(to_json(values))
        except ValidationError as error:
            slot = [key for key in type(component).model_fields if key not in ("name", "parameters")]
            keys: dict[Place, list[str]] = {(): [*schema.model_fields, *slot]}
            self.problems.extend(problems_of(error, values, path, keys, component.name))
            return None

    def _nested(
        self, slots: Mapping[str, signatures.Nested], values: Mapping[str, Any], path: Place
    ) -> dict[str, Nested | Any]:
        """The parameters that are components, or lists of them, resolved; malformed ones are left for the
        schema."""
        return {
            key: self._one_or_many(slot, values[key], (*path, key))
            for key, slot in slots.items()
            if key in values
        }

    def _one_or_many(self, slot: signatures.Nested, value: Any, path: Place) -> Nested | Any:
        if not slot.many:
            return self._one(slot.kind, value, path)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return value
        return tuple(self._one(slot.kind, v, (*path, i)) for i, v in enumerate(value))

    def _one(self, kind: str, value: Any, path: Place) -> Component | Any:
        named = value if isinstance(value, str) else value.get("name") if isinstance(value, Mapping) else None
        if not isinstance(named, str):
            return value
        rest = {k: v for k, v in value.items() if k != "name"} if isinstance(value, Mapping) else {}
        return self.component(path, kind, Component(name=named, parameters=rest))


def _flat(value: Any) -> Any:
    """Nested components as a recipe holds them."""
    if isinstance(value, tuple):
        return tuple(_flat(one) for one in value)
    return plain(value.flat()) if isinstance(value, Component) else value
