"""What a recipe may say: frozen pydantic models. Component parameters are checked later, see `resolve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    Tag,
    model_validator,
)
from pydantic_core import CoreSchema

from ldmkit.recipe.decays import Decay

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=2**31 - 1)]
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
    """Frozen; a key that is not declared is an error."""

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
        """Always: it follows from what the component says."""
        return isinstance(other, Checked)


class Component(Part):
    """A component by name with its parameters: `{name: ddim, eta: 0.5}`, or just `ddim`."""

    _checked: Checked = PrivateAttr(default_factory=Checked)

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
    """False for a component that has no name yet, see UNNAMED."""
    return not isinstance(value, Component) or bool(value.name)


UNNAMED = Component(name="")
"""What a plugin declares as the default of the kind: reading a recipe gives it its name."""
Nested = Component | tuple[Component, ...] | None
"""A parameter that is a component, a list of them, or none."""


class Conditioning(Component):
    """A conditioner; `dropout` is the rate at which training replaces its condition by the null one."""

    dropout: Fraction = 0.0


class Sampling(Component):
    """A sampler, the spacing of its levels and their number.

    reuse: the denoiser's deep features are computed at the first of so many evaluations and kept for the
    others; 1 for all of them.
    """

    spacing: Annotated[Component, Kind("spacing")] = UNNAMED
    steps: Bounded = 50
    reuse: Bounded = 1


class Stage(Part):
    """What all training stages share. lr is absolute: it is never scaled by batch or devices.

    optimizer: by default AdamW; any reads betas and weight_decay where it has them. lr_factors: factors of lr
    by part, such as {conditioners: 0.1, conditioners.caption: 0.5, adversary: 2}; the longest name counts.
    """

    steps: Positive
    batch: Bounded
    lr: Annotated[float, Field(gt=0)]
    optimizer: Annotated[Component, Kind("optimizer")] | None = None
    lr_factors: Mapping[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[int, Field(ge=0)] = 0
    decay: Decay = "constant"
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
    """Stage two: the denoiser and every conditioner that has trainable weights, jointly.

    auxiliary: losses added to the objective's, which may read the denoiser's features and the clean picture.
    distillation: what is learned, in the place of the objective's loss, from the model of the recipe's
    `weights`, from which the training starts.
    widen: start from `weights` of a model with other conditions, such as an unconditional one. Its first
    convolution gains the input channels that it lacks, zero at first; modules that it lacks begin new; those
    that have no place here are left aside. What was taken is told. False: the weights must fit exactly.
    crop: center: of data that draw another crop at each step, the middle of each picture is encoded. Such
    data are refused without it.
    """

    latents: Literal["sample", "mode"] = "sample"
    crop: Literal["center"] | None = None
    distillation: Annotated[Component, Kind("distillation")] | None = None
    widen: bool = False
    auxiliary: tuple[Annotated[Component, Kind("auxiliary")], ...] = ()


class AdapterTraining(DiffusionTraining):
    """The training of an adapter: as stage two, with the system's own weights frozen.

    data: what it is trained on, by default the recipe's.
    """

    data: Annotated[Component, Kind("data")] | None = None


class Adapting(Component):
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
    if name in ("compression", "diffusion"):
        raise ValueError("should be a name that no stage has")
    return name


AdapterName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$"), AfterValidator(_not_a_stage)]
"""An adapter's name: of its folder, its file and its weights in the system."""


class Train(Part):
    """The two stages. callbacks: what observes each of them; they change no result and retrain nothing."""

    compression: CompressionTraining | None = None
    diffusion: DiffusionTraining | None = None
    callbacks: tuple[Annotated[Component, Kind("callback")], ...] = ()


class Sample(Part):
    """What `ldmkit run` and `ldmkit sample` draw by default.

    `fields` are raw inputs by batch field, for conditions other than captions; paths of pictures among them
    start at the recipe's folder. `init` is a picture to start from, `strength` how much noise it gets (0 to
    1). `count` pictures are drawn of each input. `size` is the picture's (height, width), by default that of
    a condition's map, else the data's. `precision` and `compile` are how the denoiser is run, see
    `ldmkit.engine.running`; evaluation samples in the same way.
    """

    prompts: tuple[str, ...] = ()
    negative: str | None = None
    fields: Mapping[str, tuple[Any, ...]] = Field(default_factory=dict)
    init: str | None = None
    strength: Annotated[float, Field(gt=0, le=1)] = 0.6
    count: Bounded = 1
    seed: int = 0
    size: tuple[Positive, Positive] | None = None
    batch: Bounded = 16
    precision: Literal["no", "bf16", "auto"] = "no"
    compile: bool = False


class Evaluate(Part):
    """What `ldmkit evaluate` measures."""

    metrics: tuple[Annotated[Component, Kind("metric")], ...] = ()


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


@dataclass(eq=False)
class Source:
    """Where a recipe and each of its values came from ("file:line:column", or the command line's override).

    label: the file, for what has no place of its own. keys and values: places by the path in the recipe.
    """

    label: str = "recipe"
    origin: Path | None = None
    keys: dict[Place, str] = field(default_factory=dict)
    values: dict[Place, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Always, among sources: where a recipe came from is no part of what it says."""
        return isinstance(other, Source)

    def where(self, path: Place, *, key: bool = False) -> str:
        """The place of a key, or of a value: the nearest one around it that is known."""
        if key and path in self.keys:
            return self.keys[path]
        around = (path[:n] for n in range(len(path), -1, -1))
        return next((self.values[p] for p in around if p in self.values), self.label)


Place = tuple[str | int, ...]
"""A path in a recipe: keys and list indices."""


class Recipe(Part):
    """One model from data to pictures."""

    _source: Source = PrivateAttr(default_factory=Source)

    recipe: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    compression: Annotated[Component, Kind("compression")]
    conditioners: Mapping[str, Annotated[Conditioning, Kind("conditioner")]] = Field(default_factory=dict)
    denoiser: Annotated[Component, Kind("denoiser")] | None = None
    schedule: Annotated[Component, Kind("schedule")] = UNNAMED
    objective: Annotated[Component, Kind("objective")] = UNNAMED
    weights: Weights | None = None
    data: Annotated[Component, Kind("data")] | None = None
    train: Train = Train()
    adapters: Mapping[AdapterName, Annotated[Adapting, Kind("adapter")]] = Field(default_factory=dict)
    sampler: Annotated[Sampling, Kind("sampler")] = Sampling(name="")
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
        return Path() if self._source.origin is None else self._source.origin.parent

    def located(self, path: str | Path) -> Path:
        """A path in the recipe, from its folder; "~" is the user's home."""
        return self.folder / Path(path).expanduser()

    @property
    def source(self) -> Source:
        """Where each value was given."""
        return self._source

    def with_source(self, source: Source) -> Recipe:
        """The same recipe, known to come from there."""
        copy = self.model_copy()
        copy._source = source
        return copy
