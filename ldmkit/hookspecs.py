"""The one hook of ldmkit, and the versions of what plugins rely on.

Version 2 added the kinds optimizer, auxiliary, callback, adapter, verb and recipe, and changed one: an
adversary weighs its own loss (`Adversary.balance`; before, the core did so by `CompressionModel.last_layer`,
which is no longer asked for). A plugin that states an older version keeps working unless it registers a
component of a kind that has changed since (`CHANGED`); such a plugin is refused with that reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pluggy

GROUP = "ldmkit"
"""The entry-point group that plugins declare."""
API_VERSION = 2
"""The version of this hook and of `ldmkit.interfaces`; a plugin states the one it was written for."""
CHANGED = {2: ("adversary",)}
"""By version: the kinds whose Protocol that version changed."""
PUBLIC = (
    "ldmkit",
    "ldmkit.artifacts",
    "ldmkit.cli.options",
    "ldmkit.disk",
    "ldmkit.errors",
    "ldmkit.evaluation",
    "ldmkit.frozen",
    "ldmkit.guidance",
    "ldmkit.hookspecs",
    "ldmkit.interfaces",
    "ldmkit.keymaps",
    "ldmkit.pictures",
    "ldmkit.recipe",
    "ldmkit.splits",
    "ldmkit.testing",
    "ldmkit.types",
    # For formats and verbs, which take whole systems apart:
    "ldmkit.engine.components",
    "ldmkit.host.registry",
    "ldmkit.interchange.model",
    "ldmkit.interchange.reading",
    "ldmkit.interchange.scaling",
)
"""What a plugin may import: these modules, and those of these packages. All else may change at any time."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True)
class Reads:
    """What a component reads at a path, where that is more than the file, or less than the folder.

    It stands in a parameter's annotation, `Annotated[Path, Reads(within=("tokenizer",))]`; `ldmkit package`
    copies what it says.

    within: the folders inside the named one that are read, if they are all there. beside: patterns of files
    that are read beside the named one, with "{stem}" for its name without suffix.
    """

    within: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


class Registrar(Protocol):
    """What the hook is handed to register the components of its distribution."""

    def add(
        self,
        kind: str,
        name: str,
        target: str,
        summary: str,
        *,
        former: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
        default: bool = False,
    ) -> None:
        """Registers a component of a kind by reference ("package.module:Attribute").

        Args:
            kind: one of `registry.KINDS`.
            name: what recipes call it.
            target: the class or function, which is imported when a recipe asks for it.
            summary: one line of documentation.
            former: names that it had in earlier versions. Recipes that use one are read with a note, and
                count as the same: their trainings and weights are found.
            renamed: former names of parameters, each with the name that it has now; they are read likewise.
            default: whether it stands where a recipe names no component of this kind. The first plugin that
                declares a default of a kind keeps it; those that ldmkit itself names come first.
        """


@hookspec
def ldmkit_register(registry: Registrar) -> None:
    """Add components: `registry.add(kind, name, "package.module:Attribute", "One line of doc.")`.

    The module that holds this hook states `LDMKIT_API = 2` and imports no torch: components are named by
    reference and imported when a recipe asks for them.
    """
