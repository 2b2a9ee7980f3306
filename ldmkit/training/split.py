"""What the diffusion stage is fed: latents, condition inputs, a step's random draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ldmkit.engine.data import field_kinds
from ldmkit.engine.parts import Parts
from ldmkit.errors import UserError
from ldmkit.interfaces import Conditioner, Dataset
from ldmkit.training.data import Examples, raw_of
from ldmkit.training.draws import seed_of
from ldmkit.training.dropout import Dropout
from ldmkit.training.latents import Latents, cached_latents
from ldmkit.training.look import check_fields, fields_of
from ldmkit.training.states import States, cacheable, cached_states, inputs_of
from ldmkit.types import Condition, Latent, Prepared

READ = 1024
"""Examples read at a time where all are looked through."""


@dataclass(frozen=True)
class Draws:
    """The random part of a step, a row a picture.

    t and noise as in the paper; latent_noise makes the posterior's sample; drop is compared with each
    condition's dropout rate, a column for each group of conditions that drop together; choice picks among
    captions; key seeds what conditioners draw themselves.
    """

    t: Float[Tensor, " b"]
    noise: Latent
    latent_noise: Latent
    drop: Float[Tensor, "b g"]
    choice: Int[Tensor, " b"]
    flip: Bool[Tensor, " b"] | None
    key: int

    def rows(self, rows: slice) -> Draws:
        """Those of some pictures."""
        return replace(self._map(lambda x: x[rows]), key=seed_of(self.key, rows.start))

    def to(self, device: torch.device) -> Draws:
        """On the device."""
        return self._map(lambda x: x.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Draws:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {n: function(x) for n, x in parts.items() if isinstance(x, Tensor)}
        return replace(self, **changed)


class Split:
    """One split as the stage sees it: cached latents, and condition inputs by example."""

    def __init__(self, system: Parts, data: Dataset, folder: Path, flip: bool) -> None:
        self._named = system.named_conditioners()
        self._dropped = Dropout(system)
        self.fields, self._kinds = fields_of(system), field_kinds(self._named)
        self.latents: Latents = cached_latents(system.compression, data, folder, flip)
        self.examples = Examples(data, self.fields)
        check_fields(system, data[0])
        self._states: dict[str, States] = {}
        for name, conditioner in self._named:
            states = self._cached(
                conditioner, str(system.recipe.conditioners[name].flat()), folder, system.device
            )
            self._states |= {} if states is None else {name: states}

    def _cached(
        self, conditioner: Conditioner, identity: str, folder: Path, device: torch.device
    ) -> States | None:
        fields = conditioner.spec.fields
        if not cacheable(cast(nn.Module, conditioner), self.examples[0], fields):
            return None
        examples = (example for batch in self.examples.batches(READ) for example in batch)
        return cached_states(conditioner, identity, inputs_of(fields, examples), folder, device)

    def __len__(self) -> int:
        return len(self.examples)

    def conditions(
        self, indices: Sequence[int], draws: Draws, own: bool, device: torch.device
    ) -> dict[str, Condition | Prepared]:
        """Encoded conditions, nulls in place, where they are cached; else prepared inputs.

        own: each example's own caption instead of a drawn one.
        """
        if not self._named:
            return {}
        chosen = self.examples.read(indices)
        raw = raw_of(chosen, self.fields, None if own else draws.choice, draws.flip, self._kinds)
        return {name: self._condition(name, c, raw, draws.drop, device) for name, c in self._named}

    def _condition(
        self,
        name: str,
        conditioner: Conditioner,
        raw: Mapping[str, Any],
        drop: Float[Tensor, "b g"],
        device: torch.device,
    ) -> Condition | Prepared:
        if name in self._states:
            dropped = self._dropped(name, drop)
            return self._states[name].look_up(raw, conditioner.spec.fields, dropped).to(device)
        try:
            prepared = conditioner.prepare({f: raw[f] for f in conditioner.spec.fields})
        except ValueError as error:
            raise UserError(f"condition '{name}': {error}") from error
        return {key: value.to(device) for key, value in prepared.items()}
