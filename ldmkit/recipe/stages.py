"""How the stages and adapters of a recipe are trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from ldmkit.recipe.components import Bounded, Component, Count, Fraction, Kind, Part
from ldmkit.recipe.decays import Decay
from ldmkit.recipe.weights import Weights

StageName = Literal["compression", "diffusion"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""The stages of a recipe, in the order in which they are trained."""


class TrainingSettings(Part):
    """What all training stages share. lr is absolute: it is never scaled by batch or devices.

    optimizer: by default AdamW; any reads betas and weight_decay where it has them. lr_factors: factors of lr
    by part, such as {conditioners: 0.1, conditioners.caption: 0.5, adversary: 2}; the longest name counts.
    precision: bf16 and fp16 compute products and convolutions in half precision (autocast); weights,
    optimizer, averages and validation stay in float32. fp16 scales losses; checkpoints hold the scale.
    """

    steps: Count
    batch: Bounded
    lr: PositiveFloat
    optimizer: Annotated[Component, Kind("optimizer")] | None = None
    lr_factors: Mapping[str, NonNegativeFloat] = Field(default_factory=dict)
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    warmup: NonNegativeInt = 0
    decay: Decay = "constant"
    clip: PositiveFloat | None = None
    accumulate: Count = 1
    precision: Literal["no", "bf16", "fp16"] = "no"
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None
    checkpoint_every: Count = 500
    validate_every: Count = 500
    picture_every: Count = 2000
    seed: int = 0
    flip: bool = False


class CompressionTraining(TrainingSettings):
    """Stage one. loss = reduction(reconstruction losses) + penalty * posterior penalty + the adversary's.

    only: decoder: what gives a picture its latent is that of the recipe's `weights` and stays, with scale and
    shift; the rest learns, from those weights where they fit. Denoisers of these latents then serve it too.
    """

    loss: tuple[Annotated[Component, Kind("loss")], ...]
    adversary: Annotated[Component, Kind("adversary")] | None = None
    penalty: NonNegativeFloat = 1e-6
    reduction: Literal["sum", "mean"] = "sum"
    learn_variance: bool = False
    only: Literal["decoder"] | None = None


class DiffusionTraining(TrainingSettings):
    """Stage two: the denoiser and every conditioner that has trainable weights, jointly.

    auxiliary: losses added to the objective's, which may read the denoiser's features and the clean picture.
    distillation: what is learned, in the place of the objective's loss, from the model of the recipe's
    `weights`, from which the training starts.
    weights: what this stage starts from, where that is another model than the recipe's `weights`, such as
    one on another first stage.
    widen: start from `weights` of a model with other conditions, such as an unconditional one. Its first
    convolution gains the input channels that it lacks, zero at first; modules that it lacks begin new; those
    that have no place here are left aside. What was taken is told. False: the weights must fit exactly.
    fsdp: several processes share out gradients, optimizer state and averages (FSDP2) in the place of each
    holding them whole; for Adam and AdamW. Changes neither what is learned nor what a checkpoint holds.
    compile: the denoiser's pass forward and back by torch.compile; a first step takes minutes.
    crop: center: of data that draw another crop at each step, the middle of each picture is encoded. Such
    data are refused without it.
    """

    latents: Literal["sample", "mode"] = "sample"
    crop: Literal["center"] | None = None
    distillation: Annotated[Component, Kind("distillation")] | None = None
    weights: Weights | None = None
    widen: bool = False
    compile: bool = False
    fsdp: bool = False
    auxiliary: tuple[Annotated[Component, Kind("auxiliary")], ...] = ()


class AdapterTraining(DiffusionTraining):
    """The training of an adapter: as stage two, with the system's own weights frozen.

    data: what it is trained on, by default the recipe's. weights: none, since the adapter's own begin new.
    """

    weights: None = None
    data: Annotated[Component, Kind("data")] | None = None


class Train(Part):
    """The two stages. callbacks: what observes each of them; they change no result and retrain nothing."""

    compression: CompressionTraining | None = None
    diffusion: DiffusionTraining | None = None
    callbacks: tuple[Annotated[Component, Kind("callback")], ...] = ()
