"""Components in a recipe: a name, and parameters that their constructor declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    model_validator,
)
from pydantic_core import CoreSchema

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0, le=2**31 - 1)]
Bounded = Annotated[int, Field(gt=0, le=100_000)]
"""A number of things that are in memory at once."""


@dataclass(frozen=True)
class Kind:
    """Marks a field of the recipe with the registry's kind that its component must be of."""

    name: str

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Leaves a mark that `ldmkit.recipe.schema` replaces by the components of the kind."""
        return {"x-kind": self.name}


class Part(BaseModel):
    """A part of a recipe: frozen, and an undeclared key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Checked:
    """What `resolve` learns of a component.

    folder: what its relative paths are relative to. where: its place in a file or on the command line, "" for
    none. parameters: those that were checked. values: the same as the constructor takes them. nested: the
    components among them.
    """

    folder: Path = Path()
    where: str = ""
    parameters: Mapping[str, Any] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    nested: Mapping[str, Nested] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Always true: what was checked follows from the component itself."""
        return isinstance(other, Checked)


class Component(Part):
    """A component by name with its parameters: `{name: ddim, eta: 0.5}`, or just `ddim`."""

    _checked: Checked = PrivateAttr(default_factory=Checked)

    name: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        """Moves what is not a field of this slot into `parameters`."""
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, Mapping) or "parameters" in value:
            return value
        own = {k: v for k, v in value.items() if k in cls.model_fields}
        return {**own, "parameters": {k: v for k, v in value.items() if k not in own}}

    def flat(self) -> dict[str, Any]:
        """The mapping that a recipe would hold."""
        own = {k: getattr(self, k) for k in type(self).model_fields if k not in ("name", "parameters")}
        flat = {k: v.flat() if isinstance(v, Component) else v for k, v in own.items() if named(v)}
        return {"name": self.name, **flat, **self.parameters}

    @property
    def checked(self) -> Checked:
        """What `resolve` learned; without `parameters` where these were not checked."""
        if self._checked.parameters is self.parameters:
            return self._checked
        return Checked(self._checked.folder, self._checked.where)

    def with_checked(self, checked: Checked) -> Self:
        """The same slot with the parameters that were checked, or with another folder."""
        changed = {} if checked.parameters is None else {"parameters": checked.parameters}
        copy = self.model_copy(update=changed)
        copy._checked = checked
        return copy


def named(value: Any) -> bool:
    """Whether a component has a name; one without is completed from the kind's default, see UNNAMED."""
    return not isinstance(value, Component) or bool(value.name)


UNNAMED = Component(name="")
"""The name that stands for the default of the kind, until the recipe is read with the plugins' defaults."""
Nested = Component | tuple[Component, ...] | None
"""A parameter that is a component, a list of them, or none."""
