"""Which pictures train without which condition, so that guidance has an unconditional estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from ldmkit.engine.parts import Parts


class Dropout:
    """Compares a step's uniform draws with each rate; conditioners that read the same field drop together."""

    def __init__(self, system: Parts) -> None:
        self._groups = drop_groups({name: c.spec.fields for name, c in system.named_conditioners()})
        self._rates = {name: slot.dropout for name, slot in system.recipe.conditioners.items()}

    def __call__(self, name: str, uniform: Float[Tensor, "b g"]) -> Bool[Tensor, " b"] | None:
        """The pictures that drop this condition; None where none ever does."""
        rate = self._rates[name]
        return uniform[:, self._groups[name]] < rate if rate > 0 else None


def drop_groups(fields_of: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """A number for each condition: the same for those that read a field in common, directly or in a chain."""
    groups: list[tuple[set[str], list[str]]] = []
    for name, read in fields_of.items():
        near = [g for g in groups if g[0] & set(read)]
        joined = (set(read).union(*(g[0] for g in near)), [n for g in near for n in g[1]] + [name])
        groups = [g for g in groups if g not in near] + [joined]
    return {name: i for i, (_, names) in enumerate(groups) for name in names}
