"""The joined components of a recipe, as sampling, training and formats use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ldmkit.engine import conditions as joining
from ldmkit.engine.components import build
from ldmkit.engine.data import read_by
from ldmkit.engine.running import Running
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interfaces import (
    Adapter,
    CompressionModel,
    Conditioner,
    Dataset,
    Denoiser,
    NoiseSchedule,
    Objective,
)
from ldmkit.recipe import Component, Recipe
from ldmkit.types import Condition, Conditions, FieldKind, Latent, PerPicture, Prepared

CAPTION = "caption"
"""The field that prompts fill where no conditioner says which of its fields are texts."""


class Parts(nn.Module):
    """A compression model, its conditioners, a denoiser, the schedule and the objective, as the recipe joins
    them. `denoiser` is None in a recipe that is a compression model alone."""

    compression: CompressionModel
    denoiser: Denoiser | None
    decoder: CompressionModel | None
    """What paints sampled latents, where it is another compression model than the recipe's."""

    def __init__(
        self,
        recipe: Recipe,
        registry: Registry,
        compression: CompressionModel,
        conditioners: Mapping[str, nn.Module],
        denoiser: Denoiser | None,
        schedule: NoiseSchedule,
        objective: Objective,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.registry = registry
        self.compression = compression
        self.conditioners = nn.ModuleDict(dict(conditioners))
        self.denoiser = denoiser
        self.decoder = None
        self.schedule = schedule
        self.objective = objective
        self.running = Running()
        """How the denoiser is run while pictures are sampled."""
        self.adapters: dict[str, Adapter] = {}
        """By the recipe's name, attached once the weights are in place."""
        self.weights: dict[str, str] = {}
        """By stage, the sha256 of the file that its weights come from; nothing for weights of no file."""
        self.trained_on: str | None = None
        """The digest of the data that the last stage with weights was trained on, where its file says so."""
        self.readers: Callable[[], Iterable[tuple[str, Conditioner]]] | None = None
        """What reads the data's fields, by the recipe's id, where it is not this system's conditioners."""
        self._dataset: Dataset | None = None
        self._guided: tuple[Sequence[Component], Mapping[str, FieldKind]] = ((), {})

    def dataset(self) -> Dataset:
        """The recipe's data set, built at the first call, with the fields that the conditioners read cut as
        its pictures are; UserError where the recipe names none."""
        if self.recipe.data is None:
            raise UserError(f"recipe '{self.recipe.name}' has no data to train on: add data")
        if self._dataset is None:
            data: Dataset = build(self.registry, "data", self.recipe.data)
            readers = self.named_conditioners() if self.readers is None else self.readers()
            self._dataset = read_by(data, readers)
        return self._dataset

    @property
    def device(self) -> torch.device:
        """Where the compression model's weights are."""
        return self.compression.scale.device

    def like_weights(self, tensor: Tensor) -> Tensor:
        """The tensor on the weights' device; a floating-point one in their dtype, which may be half
        precision."""
        scale = self.compression.scale
        return tensor.to(scale.device, scale.dtype if tensor.is_floating_point() else None)

    @torch.no_grad()
    def condition(
        self, raw: Mapping[str, Any], count: int | None = None, size: tuple[int, int] | None = None
    ) -> Conditions:
        """Conditions by the recipe's id, from raw batches by field (or ids and tensors, which pass through).

        count: a single input is repeated for so many pictures. Where one of several conditions is not given,
        it is its default, else its null, if training dropped it; `size`, the pictures' (height, width), is
        then the size of a null map. Raises UserError for a missing or unknown field and for
        what a conditioner cannot read.
        """
        self.check_given(raw)
        inputs = {
            n: self._encoded(n, c, raw)
            for n, c in self.named_conditioners()
            if set(c.spec.fields) <= set(raw)
        }
        if count is not None:
            inputs = dict(_repeated(inputs, count))
        absent = {
            n: self._absent(n, c, inputs, size) for n, c in self.named_conditioners() if n not in inputs
        }
        return {name: inputs.get(name) or absent[name] for name, _ in self.named_conditioners()}

    def prepared(self, name: str, conditioner: Conditioner, raw: Mapping[str, Any]) -> Prepared:
        """The conditioner's prepared inputs; UserError where it cannot read the raw ones."""
        try:
            return conditioner.prepare({f: raw[f] for f in conditioner.spec.fields})
        except ValueError as error:
            raise UserError(f"condition '{name}': {error}") from error

    def _encoded(self, name: str, conditioner: Conditioner, raw: Mapping[str, Any]) -> Condition:
        prepared = self.prepared(name, conditioner, raw)
        return conditioner.encode({k: self.like_weights(v) for k, v in prepared.items()}).map(
            self.like_weights
        )

    def _absent(
        self, name: str, conditioner: Conditioner, conditions: Conditions, size: tuple[int, int] | None
    ) -> Condition:
        """A condition that is not given: its default, else its null in the shape of those that are."""
        count = joining.count_of(conditions.values())
        if default := getattr(conditioner, "default", None):
            size = size or self.recipe.sample.size
            if size is None:
                raise UserError(
                    f"condition '{name}' depends on the picture's size: set sample.size, or give it"
                )
            prepared = default(count or 1, size)
            encoded = conditioner.encode({k: self.like_weights(v) for k, v in prepared.items()})
            return encoded.map(self.like_weights)
        maps = [c.concat.shape[2:] for c in conditions.values() if c.concat is not None]
        factor = self.compression.latent.factor
        shape = maps[0] if maps else tuple(side // factor for side in size) if size else None
        if shape is None and conditioner.spec.concat:
            raise UserError(
                f"condition '{name}' is left out, and no other tells the picture's size: set sample.size"
            )
        zeros = joining.zeros(conditioner.spec, count or 1, shape, self.device).map(self.like_weights)
        return conditioner.null(zeros).map(self.like_weights)

    def null(self, conditions: Conditions) -> Conditions:
        """The null conditions in the shape of those given."""
        named = self.named_conditioners()
        return {name: c.null(conditions[name]).map(self.like_weights) for name, c in named}

    @property
    def painter(self) -> CompressionModel:
        """The compression model whose decoder paints sampled latents."""
        return self.compression if self.decoder is None else self.decoder

    def named_conditioners(self) -> list[tuple[str, Conditioner]]:
        """The conditioners by the recipe's id, in its order."""
        # A cast, since a ModuleDict does not say what it holds.
        return [(name, cast(Conditioner, module)) for name, module in self.conditioners.items()]

    @property
    def guided_kinds(self) -> Mapping[str, FieldKind]:
        """What the fields hold that the recipe's guidance reads, where it says so."""
        slots = self.recipe.guidance
        if self._guided[0] is not slots:
            guides = [build(self.registry, "guidance", g, compression=self.compression) for g in slots]
            self._guided = slots, {f: k for guide in guides for f, k in getattr(guide, "kinds", {}).items()}
        return self._guided[1]

    @property
    def text_fields(self) -> list[str]:
        """The fields that conditioners read as texts (`caption` where none says so), then guidance's."""
        named = self.named_conditioners()
        texts = [f for _, c in named for f, kind in c.spec.kinds.items() if kind == "text"]
        guided = [f for f, kind in self.guided_kinds.items() if kind == "text"]
        return list(dict.fromkeys([*(texts or [CAPTION]), *guided]))

    @property
    def prompt_field(self) -> str:
        """The field that prompts fill: the first that a conditioner reads as a text."""
        return self.text_fields[0]

    @torch.no_grad()
    def denoise(self, z_t: Latent, time: PerPicture, conditions: Conditions) -> Latent:
        """The network's raw output in the type of z_t; `time` is what the schedule tells it (an integer step
        as float)."""
        merged = joining.merge(conditions).map(self.like_weights)
        return self.network(self.like_weights(z_t), time, merged).to(z_t.dtype)

    @property
    def network(self) -> Denoiser:
        """The denoiser; UserError where the recipe has none."""
        if self.denoiser is None:
            raise UserError(f"recipe '{self.recipe.name}' has no denoiser: it is a compression model alone")
        return self.denoiser

    def check_given(self, raw: Mapping[str, Any]) -> None:
        """UserError for condition fields that are missing or that nothing reads, and for a condition that is
        left out though training never drops it."""
        known = {field for _, c in self.named_conditioners() for field in c.spec.fields}
        fields = [set(c.spec.fields) for _, c in self.named_conditioners() if must_be_given(c)]
        some = any(f <= set(raw) for f in fields)
        half = [f - set(raw) for f in fields if f & set(raw) or not some]
        for word, names in (("needs", set().union(*half)), ("does not read", set(raw) - known)):
            if names:
                listed = ", ".join(sorted(names))
                raise UserError(f"recipe '{self.recipe.name}' {word} the condition field(s) {listed}")
        for name, conditioner in self.named_conditioners():
            absent = must_be_given(conditioner) and not set(conditioner.spec.fields) <= set(raw)
            if absent and self.recipe.conditioners[name].dropout == 0:
                listed = ", ".join(conditioner.spec.fields)
                raise UserError(
                    f"condition '{name}' cannot be left out, since training never drops it (dropout 0): give "
                    f"{listed}, or set conditioners.{name}.dropout before the training"
                )


def must_be_given(conditioner: Conditioner) -> bool:
    """Whether a conditioner's fields must be given: it has no defaults for them."""
    return not hasattr(conditioner, "default")


def _repeated(conditions: Conditions, count: int) -> Conditions:
    held = joining.count_of(conditions.values())
    if held in (None, count):
        return conditions
    if held != 1:
        raise UserError(f"{held} inputs do not make {count} pictures: give 1 or {count}")
    return {name: c.map(lambda x: x.expand(count, *x.shape[1:])) for name, c in conditions.items()}
