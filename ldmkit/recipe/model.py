"""The frozen recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
)

from ldmkit.recipe.components import UNNAMED, Bounded, Component, Count, Fraction, Kind, Part
from ldmkit.recipe.sources import Source
from ldmkit.recipe.stages import STAGES, AdapterTraining, Train
from ldmkit.recipe.weights import Weights


class ConditionerSlot(Component):
    """A conditioner; `dropout` is the rate at which training replaces its condition by the null one."""

    dropout: Fraction = 0.0


class SamplerSlot(Component):
    """A sampler, the spacing of its levels and their number.

    reuse: the denoiser's deep features are computed at the first of so many evaluations and kept for the
    others; 1 for all of them.
    """

    spacing: Annotated[Component, Kind("spacing")] = UNNAMED
    steps: Bounded = 50
    reuse: Bounded = 1


class AdapterSlot(Component):
    """An adapter.

    weights: its file, relative to the recipe's folder; without one it is trained as `train` says. strength:
    how much it counts, 0 for not at all. merge: add it to the system's weights when they are loaded, which
    saves time at every step and fixes the strength.
    """

    weights: str | None = None
    strength: float = 1.0
    merge: bool = False
    train: AdapterTraining | None = None


def _not_a_stage(name: str) -> str:
    if name in STAGES:
        raise ValueError("should be a name that no stage has")
    return name


AdapterName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$"), AfterValidator(_not_a_stage)]
"""An adapter's name: of its folder, its file and its weights in the system."""


class Sample(Part):
    """What `ldmkit run` and `ldmkit sample` draw by default.

    `fields` are raw inputs by batch field, for conditions other than captions; paths of pictures among them
    start at the recipe's folder, and a field that is null is left out. `init` is a picture to start from,
    `strength` how much noise it gets (0 to 1). `count` pictures are drawn of each input. `size` is the
    picture's (height, width), by default that of a condition's map, else the data's. `precision` and
    `compile` are how the denoiser is run, see `ldmkit.engine.running`. `decoder` names the weights of another
    compression model of the same latents, as `weights` does: its decoder paints what is sampled. Evaluation
    samples in the same way.
    """

    prompts: tuple[str, ...] = ()
    negative: str | None = None
    fields: Mapping[str, tuple[Any, ...] | None] = Field(default_factory=dict)
    init: str | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 0.6
    count: Bounded = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    size: tuple[Count, Count] | None = None
    batch: Bounded = 16
    precision: Literal["no", "bf16", "auto"] = "no"
    compile: bool = False
    decoder: Weights | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """The fields that are null here: conditions that are left out unless they are given."""
        return tuple(field for field, values in self.fields.items() if values is None)


class Evaluate(Part):
    """What `ldmkit evaluate` measures."""

    metrics: tuple[Annotated[Component, Kind("metric")], ...] = ()


class Recipe(Part):
    """One model from data to pictures."""

    _source: Source = PrivateAttr(default_factory=Source)

    recipe: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    compression: Annotated[Component, Kind("compression")]
    conditioners: Mapping[str, Annotated[ConditionerSlot, Kind("conditioner")]] = Field(default_factory=dict)
    denoiser: Annotated[Component, Kind("denoiser")] | None = None
    schedule: Annotated[Component, Kind("schedule")] = UNNAMED
    objective: Annotated[Component, Kind("objective")] = UNNAMED
    weights: Weights | None = None
    data: Annotated[Component, Kind("data")] | None = None
    train: Train = Train()
    adapters: Mapping[AdapterName, Annotated[AdapterSlot, Kind("adapter")]] = Field(default_factory=dict)
    sampler: Annotated[SamplerSlot, Kind("sampler")] = SamplerSlot(name="")
    guidance: tuple[Annotated[Component, Kind("guidance")], ...] = ()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()

    @property
    def origin(self) -> Path | None:
        """The file that the recipe was read from; None for a recipe from Python."""
        return self._source.origin

    @property
    def folder(self) -> Path:
        """What relative paths are relative to: the folder of the recipe's file; the working directory for a
        recipe from Python."""
        return self._source.folder

    def located(self, path: str | Path) -> Path:
        """A path in the recipe, from its folder; "~" is the user's home."""
        return self._source.located(path)

    @property
    def source(self) -> Source:
        """Where each value was given."""
        return self._source

    def with_source(self, source: Source) -> Recipe:
        """The same recipe, known to come from there."""
        copy = self.model_copy()
        copy._source = source
        return copy
