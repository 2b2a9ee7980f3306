"""Metrics, and what they may ask of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.errors import UserError
from ldmkit.interfaces.data import Dataset
from ldmkit.interfaces.training import FeatureNetwork
from ldmkit.pictures.sheet import Section
from ldmkit.types import FieldKind, Pixels


@dataclass(frozen=True)
class Network:
    """A metric's feature network, with the name and settings that its figures are to carry."""

    name: str
    settings: Mapping[str, Any]
    module: FeatureNetwork


class NamedComponent(Protocol):
    """A component as the recipe names it."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...


class MetricInput(Protocol):
    """What a metric may ask of an evaluation; `ldmkit.evaluation.Evaluation` offers it.

    system: the model, with its weights. component: the recipe's entry of the metric that runs. sections: the
    contact sheet, to which a metric appends. cache: a folder for what is costly to make, such as a network
    that a metric trains, or None.
    """

    @property
    def system(self) -> nn.Module: ...

    @property
    def component(self) -> NamedComponent: ...

    @property
    def sections(self) -> MutableSequence[Section]: ...

    @property
    def cache(self) -> Path | None: ...

    @property
    def condition_fields(self) -> tuple[str, ...]:
        """The fields that the recipe's conditioners and guidance read; empty for an unconditional recipe."""

    @property
    def condition_kinds(self) -> Mapping[str, FieldKind]:
        """What the condition fields hold, where the conditioner that reads one says so."""

    def data(self, split: str, **changes: Any) -> Dataset:
        """One split of the recipe's data set, with `changes` in its parameters (`language="ko"`).

        Raises UserError for a recipe without data, and for a split or parameter that the data set lacks.
        """

    def pixels(self, split: str) -> Pixels:
        """The pictures of one split."""

    def reconstructions(self, split: str) -> Pixels:
        """The pictures of one split, encoded and decoded again."""

    def conditions(self, data: Dataset, index: Sequence[int]) -> dict[str, list[Any]]:
        """The condition fields of some examples, for `sample`; UserError where the data lack one."""

    def sample(self, fields: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> Pixels:
        """A picture for each seed, drawn as the recipe says, under one value a seed of each field."""

    def sample_unconditional(
        self, seeds: Sequence[int], fields: Mapping[str, Sequence[Any]] | None = None
    ) -> Pixels:
        """A picture for each seed under the null condition, without guidance.

        fields: inputs that give the null condition its shape; by default those of the first training example.
        """

    def network(self, parameter: str, module: FeatureNetwork) -> Network:
        """`module`, which is the metric's parameter `parameter`, under the name that the recipe gives it."""

    def embed(self, network: Network, pixels: Pixels) -> Float[Tensor, "n e"]:
        """The network's embedding of each picture."""

    def error(self, message: str) -> UserError:
        """An error for the user that names the metric; the metric raises it."""


class Metric(Protocol):
    """One family of figures that `evaluate` reports.

    A metric may have `reads`, a sequence of names: the fields of the data that it reads besides those that
    the recipe's conditions read. Examples that lack one of them are left out of the whole evaluation.
    """

    def __call__(self, evaluation: MetricInput) -> Mapping[str, Any]:
        """Figures by name, of what JSON can hold."""
