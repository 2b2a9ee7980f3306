"""What a recipe may say: frozen pydantic models. Component parameters are checked later, see `resolve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Kind:
    """Marks a field of the recipe with the registry's kind that its component must be of."""

    name: str


class Part(BaseModel):
    """Frozen; a key that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Component(Part):
    """A component by name with its parameters: `{name: ddim, eta: 0.5}`, or just `ddim`."""

    name: str
    parameters: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        """Moves what is not a field of this slot into `parameters`."""
        if isinstance(given, str):
            return {"name": given}
        if not isinstance(given, Mapping) or "parameters" in given:
            return given
        own = {k: v for k, v in given.items() if k in cls.model_fields}
        return {**own, "parameters": {k: v for k, v in given.items() if k not in own}}

    def flat(self) -> dict[str, Any]:
        """The mapping that a recipe would hold."""
        own = {k: v for k, v in self.model_dump(mode="json").items() if k not in ("name", "parameters")}
        return {"name": self.name, **own, **self.parameters}


class Conditioning(Component):
    """A conditioner; `dropout` is the rate at which training replaces its condition by the null one."""

    dropout: Fraction = 0.0


class Sampling(Component):
    """A sampler, the spacing of its levels and their number."""

    spacing: Annotated[Component, Kind("spacing")] = Component(name="leading")
    steps: Positive = 50


class Stage(Part):
    """What both training stages share. lr is absolute: it is never scaled by batch or devices."""

    steps: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0
    decay: Literal["constant", "cosine", "linear"] = "constant"
    clip: Annotated[float, Field(gt=0)] | None = None
    accumulate: Positive = 1
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None
    checkpoint_every: Positive = 500
    validate_every: Positive = 500
    picture_every: Positive = 2000
    seed: int = 0
    flip: bool = False


class CompressionTraining(Stage):
    """Stage one. loss = reduction(reconstruction losses) + penalty * posterior penalty + the adversary's."""

    loss: tuple[Annotated[Component, Kind("loss")], ...]
    adversary: Annotated[Component, Kind("adversary")] | None = None
    penalty: Annotated[float, Field(ge=0)] = 1e-6
    reduction: Literal["sum", "mean"] = "sum"
    learn_variance: bool = False


class DiffusionTraining(Stage):
    """Stage two: the denoiser and every conditioner that has trainable weights, jointly."""

    latents: Literal["sample", "mode"] = "sample"


class Train(Part):
    """The two stages."""

    compression: CompressionTraining | None = None
    diffusion: DiffusionTraining | None = None


class Sample(Part):
    """What `ldmkit run` and `ldmkit sample` make by default. `fields` are raw inputs by batch field, for
    conditions other than captions; `size` is the picture's (height, width), by default the data's."""

    prompts: tuple[str, ...] = ()
    negative: str | None = None
    fields: Mapping[str, tuple[Any, ...]] = Field(default_factory=dict)
    count: Positive = 1
    seed: int = 0
    size: tuple[Positive, Positive] | None = None
    batch: Positive = 16


class Evaluate(Part):
    """What `ldmkit evaluate` measures."""

    metrics: tuple[Annotated[Component, Kind("metric")], ...] = ()


class Hub(Part):
    """A model on the Hugging Face hub, pinned."""

    hub: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Recipe(Part):
    """One model from data to pictures."""

    recipe: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    compression: Annotated[Component, Kind("compression")]
    conditioners: Mapping[str, Annotated[Conditioning, Kind("conditioner")]] = Field(default_factory=dict)
    denoiser: Annotated[Component, Kind("denoiser")] | None = None
    schedule: Annotated[Component, Kind("schedule")] = Component(name="linear-beta")
    objective: Annotated[Component, Kind("objective")] = Component(name="epsilon")
    weights: str | Hub | None = None
    data: Annotated[Component, Kind("data")] | None = None
    train: Train = Train()
    sampler: Annotated[Sampling, Kind("sampler")] = Sampling(name="ddim")
    guidance: tuple[Annotated[Component, Kind("guidance")], ...] = ()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()
