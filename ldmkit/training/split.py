"""The input of the diffusion stage: latents, condition inputs, random draws of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ldmkit.engine.data import drawn_of, field_kinds
from ldmkit.engine.parts import Parts
from ldmkit.errors import UserError
from ldmkit.interfaces import Conditioner, Dataset
from ldmkit.training.data import Examples, raw_of
from ldmkit.training.draws import seed_of
from ldmkit.training.dropout import Dropout
from ldmkit.training.encoded_conditions import States, cacheable, cached_states
from ldmkit.training.latents import Latents, cached_latents
from ldmkit.training.look import check_fields, fields_of
from ldmkit.types import Condition, Latent, Posterior, Prepared, Say


@dataclass(frozen=True)
class DiffusionDraws:
    """The random draws of a step, one row per picture.

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

    def rows(self, rows: slice) -> DiffusionDraws:
        """The draws of the chosen pictures."""
        return replace(self._map(lambda x: x[rows]), key=seed_of(self.key, rows.start))

    def to(self, device: torch.device) -> DiffusionDraws:
        """The draws on the device."""
        return self._map(lambda x: x.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> DiffusionDraws:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {n: function(x) for n, x in parts.items() if isinstance(x, Tensor)}
        return replace(self, **changed)


@dataclass(frozen=True)
class Given:
    """The conditions of a batch by the recipe's id: encoded with nulls in place, where they are cached; else
    the prepared inputs of their conditioners."""

    encoded: Mapping[str, Condition]
    prepared: Mapping[str, Prepared]


class Split:
    """One split of the diffusion stage: cached latents, and condition inputs by example."""

    def __init__(
        self,
        system: Parts,
        data: Dataset,
        folder: Path,
        flip: bool,
        say: Say = lambda _: None,
        older: Path | None = None,
    ) -> None:
        """folder: of cached latents and states. older: where they were kept before trainings shared them."""
        self._named = system.named_conditioners()
        self._dropped = Dropout(system)
        self.fields, self._kinds = fields_of(system), field_kinds(self._named)
        self.latents: Latents = cached_latents(system.compression, data, folder, flip, say, older)
        self.examples, self._drawn = Examples(data, self.fields), drawn_of(data)
        check_fields(system, data[0])
        self._states: dict[str, States] = {}
        for name, conditioner in self._named:
            identity = str(system.recipe.conditioners[name].flat())
            states = self._cached(conditioner, identity, folder, system.device, say)
            self._states |= {} if states is None else {name: states}

    def _cached(
        self, conditioner: Conditioner, identity: str, folder: Path, device: torch.device, say: Say
    ) -> States | None:
        fields = conditioner.spec.fields
        if self._drawn & {*fields} or not cacheable(conditioner, self.examples[0], fields):
            return None
        return cached_states(conditioner, identity, self.examples, folder, device, say)

    def __len__(self) -> int:
        return len(self.examples)

    def read(
        self, indices: Sequence[int], draws: DiffusionDraws, own: bool, device: torch.device
    ) -> tuple[Posterior, Given]:
        """Posteriors of some examples of one shape, and what is given of their conditions.

        own: each example's own caption instead of a drawn one.
        """
        shown, raw = self._raw(indices, draws, own)
        cached = {name: c.spec.fields for name, c in self._named if name in self._states}
        inputs = Given(
            encoded={n: self._encoded(n, fields, raw, draws.drop).to(device) for n, fields in cached.items()},
            prepared={n: _prepared(n, c, raw, device) for n, c in self._named if n not in cached},
        )
        return self.latents.posterior(shown, draws.flip), inputs

    def _raw(
        self, indices: Sequence[int], draws: DiffusionDraws, own: bool
    ) -> tuple[list[int], dict[str, Any]]:
        """The indices of the examples, stand-ins for broken ones among them, and their condition inputs."""
        shown = [self.latents.stand_ins.get(i, i) for i in indices]
        if not self._named:
            return shown, {}
        keys = None if own else draws.choice.tolist()
        chosen = self.examples.read(shown, keys)
        others = [self.examples.shown(i) for i in shown]
        if others != shown:  # something else than a picture turned out broken
            return self._raw(others, draws, own)
        return shown, raw_of(chosen, self.fields, None if own else draws.choice, draws.flip, self._kinds)

    def _encoded(
        self, name: str, fields: Sequence[str], raw: Mapping[str, Any], drop: Float[Tensor, "b g"]
    ) -> Condition:
        return self._states[name].look_up(raw, fields, self._dropped(name, drop))


def _prepared(name: str, conditioner: Conditioner, raw: Mapping[str, Any], device: torch.device) -> Prepared:
    try:
        prepared = conditioner.prepare({f: raw[f] for f in conditioner.spec.fields})
    except ValueError as error:
        raise UserError(f"condition '{name}': {error}") from error
    return {key: value.to(device) for key, value in prepared.items()}
