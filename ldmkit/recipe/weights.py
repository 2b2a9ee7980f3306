"""Where weights come from that a recipe starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    Discriminator,
    Field,
    Tag,
)

from ldmkit.recipe.components import Part


class Hub(Part):
    """A model on the Hugging Face hub, pinned."""

    hub: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Shipped(Part):
    """The weights that an installed plugin ships for a recipe, by that recipe's name."""

    recipe: str


def _weights_form(value: Any) -> str | None:
    """Which form of `weights` a value is, so that its errors speak of that form alone."""
    if isinstance(value, Shipped) or (isinstance(value, Mapping) and "recipe" in value):
        return "[recipe]"
    return "[folder]" if isinstance(value, str) else "[hub]" if isinstance(value, Hub | Mapping) else None


Weights = Annotated[
    Annotated[str, Tag("[folder]")] | Annotated[Hub, Tag("[hub]")] | Annotated[Shipped, Tag("[recipe]")],
    Discriminator(
        _weights_form,
        custom_error_type="weights_form",
        custom_error_message="should be a folder, or a mapping of hub and revision",
    ),
]
"""A folder, relative to the recipe's own, a pinned model on the hub, or what is shipped for a recipe."""
