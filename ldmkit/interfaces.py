"""What each kind of component must do. Structural: a plugin inherits from nothing of ours.

A component is a class (built once) or, for samplers and spacings, a function. Its keyword-only parameters are
what a recipe may set; every other constructor parameter is supplied by `ldmkit.build`, by name, out of
`registry.SUPPLIED`. A keyword-only parameter annotated with one of these Protocols is a nested component; one
annotated `Path` is a file or folder, which a recipe names relative to its own folder.
Contract checks for all of them are in `ldmkit.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.types import (
    Condition,
    Conditions,
    ConditionSpec,
    Estimate,
    Image,
    Latent,
    LatentSpec,
    Level,
    Levels,
    NoiseSource,
    Outcome,
    PerPicture,
    Posterior,
    Prepared,
    Request,
    TrainingRun,
)

EstimateFunction = Callable[[Latent, Level], Estimate]
"""estimate(z_t, level): what a sampler calls; guidance and the network are inside."""
Gradient = Callable[[Float[Tensor, ""]], Tensor]
"""gradient(loss): the loss's gradient at the weight of the decoder's last layer, over the global batch."""
ConditionedEstimate = Callable[[Latent, Level, Sequence[Conditions]], Sequence[Estimate]]
"""estimate(z_t, level, [conditions, ...]): one estimate for each entry, computed in one batched pass."""


class Module(Protocol):
    """What the engine and the training loop use of an nn.Module. A component whose Protocol inherits from
    this one inherits from torch.nn.Module."""

    training: bool

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The module's weights."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The same with their names."""

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Tensors that are no weights, with their names."""

    def modules(self) -> Iterator[nn.Module]:
        """The module and those inside it."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The module and those inside it, with their names."""

    def state_dict(self) -> dict[str, Any]:
        """Weights and saved buffers by name."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freezes the weights or lets them be trained."""

    def train(self, mode: bool = True) -> Self:
        """To the behaviour of training (dropout is on) or not."""

    def eval(self) -> Self:
        """To the behaviour of sampling."""


class CompressionModel(Module, Protocol):
    """E and D of section 3.1. `scale` and `shift` are saved buffers, one entry a channel:
    a scaled latent is (raw - shift) * scale. They are 1 and 0 until measured on data."""

    latent: LatentSpec
    scale: Float[Tensor, " c"]
    shift: Float[Tensor, " c"]

    def encode(self, image: Image) -> Latent:
        """The posterior's mode, scaled; VQ: the latent before quantization."""

    def decode(self, latent: Latent) -> Image:
        """The picture of a scaled latent; differentiable. VQ quantizes first, straight-through."""

    def posterior(self, image: Image) -> Posterior:
        """What training and the latent cache need."""


class Regulariser(Module, Protocol):
    """What keeps an autoencoder's latent in bounds (section 3.1), between encoder and decoder.
    Latents here are unscaled."""

    def moments(self, channels: int) -> int:
        """Channels that the encoder puts out for a latent of `channels`; ValueError where it has no such."""

    def mode(self, moments: Float[Tensor, "b k h w"]) -> Latent:
        """The most likely latent."""

    def posterior(self, moments: Float[Tensor, "b k h w"]) -> Posterior:
        """q(z | x) with its penalty."""

    def restore(self, latent: Latent) -> Latent:
        """What the decoder is shown of a latent (its nearest codes...); differentiable, straight-through."""


class Conditioner(Module, Protocol):
    """tau_theta of section 3.3: makes a `Condition` of batch fields.

    One method is optional: `default(count, size) -> Prepared`, what is prepared for so many pictures of
    (height, width) where a person gives none of its fields. Without it they must be given.
    """

    spec: ConditionSpec

    def prepare(self, raw: Mapping[str, Any]) -> Prepared:
        """Raw batches by field (strings, ids, pictures...) to tensors; what is prepared passes through.
        Uses no weights. Raises ValueError naming the field and what it expects."""

    def encode(self, prepared: Prepared, generator: torch.Generator | None = None) -> Condition:
        """The condition; `generator` is for conditioning noise, where there is any."""

    def null(self, like: Condition) -> Condition:
        """The condition that says nothing, in the shape of `like`; for guidance and dropout."""


class NoiseSchedule(Protocol):
    """Which noise levels there are. t in [0, 1], 0 the cleanest. `size`: latent (h, w), for schedules that
    shift with the resolution. `timesteps`: T where the levels are a table, None where they are continuous;
    `zero_snr`: alpha vanishes at t = 1."""

    timesteps: int | None
    zero_snr: bool

    def level(self, t: Tensor, size: tuple[int, int] | None = None) -> Level:
        """alpha, sigma and time at t."""

    def draw(self, n: int, generator: torch.Generator | None, size: tuple[int, int] | None = None) -> Tensor:
        """n random t as the training distribution wants them."""

    def invert(self, log_snr: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The t at which log(alpha^2 / sigma^2) has that value."""


class Spacing(Protocol):
    """A function that chooses the levels of n steps."""

    def __call__(self, schedule: NoiseSchedule, steps: int, size: tuple[int, int] | None = None) -> Levels:
        """n + 1 levels, noisiest first; the last is the schedule's first one or clean (alpha 1, sigma 0)."""


class Objective(Protocol):
    """What the network's raw output means and how it is trained."""

    def out_channels(self, latent_channels: int) -> int:
        """Channels that the denoiser must put out."""

    def scale_input(self, z: Latent, level: Level) -> Latent:
        """What the network is shown instead of z_t (EDM's c_in; else z_t itself)."""

    def loss(self, raw: Latent, clean: Latent, noise: Latent, level: Level) -> PerPicture:
        """The weighted training loss of each picture: mean over channels and positions."""

    def estimate(self, raw: Latent, z: Latent, level: Level) -> Estimate:
        """The clean latent and the noise that `raw` stands for."""

    def check(self, schedule: NoiseSchedule) -> None:
        """Raises ValueError where the objective makes no sense on the schedule (epsilon at zero SNR)."""


BoundNetwork = Callable[[Latent, PerPicture], Latent]
"""bound(z_t, time): the raw output of a denoiser on one condition."""


class Denoiser(Module, Protocol):
    """The network eps_theta, told z_t, time and one merged condition.

    One method is optional: `bind_reusing(condition, interval) -> BoundNetwork`, as `bind`, but what is deep
    in the network is computed at the first of every `interval` calls and kept for the others.
    """

    def __call__(self, z: Latent, time: PerPicture, condition: Condition) -> Latent:
        """The raw output."""

    def bind(self, condition: Condition) -> BoundNetwork:
        """The network with what does not change over the steps (keys, values) computed once."""


class Guidance(Protocol):
    """Wraps an estimate by another; several stack, the first of the recipe innermost.

    Two members are optional. `fields: tuple[str, ...]` names the raw inputs that it reads of the request, so
    that the command line and recipes accept them beside those of conditioners. `finish(image, request) ->
    image` is given the decoded pictures and has the last word on their pixels.
    """

    def bind(self, estimate: ConditionedEstimate, request: Request) -> ConditionedEstimate:
        """The guided estimate. Raises ValueError in plain words where the request does not fit."""


class Sampler(Protocol):
    """A short function from noise to latent, with keyword-only parameters for recipes."""

    def __call__(self, estimate: EstimateFunction, z: Latent, levels: Levels, noise: NoiseSource) -> Latent:
        """z at levels[0] to a latent at levels[-1]; calls noise(i) at step i where it is stochastic."""


class FeatureNetwork(Module, Protocol):
    """A frozen picture network by name (in eval for good): losses and metrics ask for it."""

    def __call__(self, image: Image) -> Sequence[Float[Tensor, "b k i j"]]:
        """Feature maps, shallow to deep; differentiable in `image`, which is in [-1, 1]."""

    def embed(self, image: Image) -> Float[Tensor, "b e"]:
        """One vector a picture (pooled, before any classifier)."""


class Loss(Module, Protocol):
    """A reconstruction loss. Its weight is one of its own parameters."""

    def __call__(self, reconstruction: Image, image: Image) -> Float[Tensor, "b 3 H W"]:
        """The weighted loss, per element or broadcastable to it (LPIPS: "b 1 1 1")."""


class Adversary(Module, Protocol):
    """The other player of the compression stage; its parameters have their own optimiser."""

    def trains(self, step: int) -> bool:
        """Does the discriminator learn at this step? (It may warm up before `weight` is above zero.)"""

    def weight(self, step: int) -> float:
        """The factor of the generator's loss at this step, before `balance`; at 0 neither is computed."""

    def generator_loss(self, reconstruction: Image) -> Float[Tensor, ""]:
        """What the autoencoder minimises."""

    def balance(
        self, reconstruction_loss: Float[Tensor, ""], generator_loss: Float[Tensor, ""], gradient: Gradient
    ) -> Float[Tensor, ""]:
        """The second factor of the generator's loss, detached; 1 for an adversary that does not adapt it."""

    def discriminator_loss(self, image: Image, reconstruction: Image) -> Float[Tensor, ""]:
        """What the discriminator minimises (the reconstruction comes detached)."""


ParameterGroup = dict[str, Any]
"""A group as torch.optim takes it: "params", a list of (name, parameter); "lr"; and "factor", by which the
training loop multiplies the stage's learning rate before each step."""


class Optimizer(Protocol):
    """Makes the torch optimiser of one TrainingStep. Checkpoints hold its state: the tensors and numbers of
    `state[parameter]` and the numbers of each of `param_groups`, which all keep their "factor"."""

    def __call__(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        """An optimiser of all parameters of the groups."""


class Auxiliary(Module, Protocol):
    """An extra loss of the diffusion stage. Its trainable weights are trained and kept in
    checkpoints beside the denoiser's, but are no part of the stage's output. Lazy modules are allowed: it is
    called once before its weights are counted.

    layers: names of the denoiser's submodules whose outputs it reads.
    """

    layers: Sequence[str]

    def __call__(self, features: Mapping[str, Any], image: Image, level: Level) -> PerPicture:
        """The weighted loss of each picture. features: outputs by layer, usually "b k i j" or "b l k"; image:
        the clean picture, mirrored as its latent is; level: that of z_t."""


TeacherEstimate = Callable[[Latent, Level], tuple[Estimate, Estimate]]
"""teacher(z_t, level): what a frozen model makes of z_t under the pictures' conditions, and under the null
conditions. Levels may differ from picture to picture."""


class Distillation(Protocol):
    """What the denoiser learns from a teacher, in the place of the objective's loss.

    The teacher is the model as it is when the training begins, that of the recipe's `weights`, from which the
    student starts; it stays as it is.
    """

    def __call__(
        self,
        student: EstimateFunction,
        teacher: TeacherEstimate,
        clean: Latent,
        noise: Latent,
        t: Float[Tensor, " b"],
    ) -> PerPicture:
        """The loss of each picture; differentiable through `student`. `t` is what the schedule drew."""


class Callback(Protocol):
    """Observes a training and changes nothing of it. The main process calls it, with copies.

    Around each call random generators are put back to their states. An exception ends the callback, which is
    reported once, and never the training.
    """

    def begin(self, run: TrainingRun) -> None:
        """A stage begins, or goes on after `run.step` steps: what was recorded of later ones is void."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Means since the last call after `step` steps, or a validation's figures ("validation_loss"...)."""

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """The sheet that shows what the stage can do after `step` steps."""

    def end(self, outcome: Outcome) -> None:
        """The last call, whether the stage is finished or not."""


class Adapter(Protocol):
    """Adds modules to a built system, and owns their weights: the system's own are neither trained nor saved
    with them. A newly attached adapter changes no figure until it is trained or loaded."""

    def attach(self, system: nn.Module, name: str) -> None:
        """Adds its modules, under a name that no other adapter of the system has; called once, with the
        system's weights in place. Raises ValueError where nothing in the system fits."""

    def state(self) -> Mapping[str, Tensor]:
        """Its weights by name, live: the parameters themselves, as training and loading change them."""

    def set_strength(self, strength: float) -> None:
        """How much it counts: 1 as trained, 0 not at all."""

    def merge(self) -> None:
        """Adds its effect at its present strength to the system's own weights, and takes its modules away."""


class Dataset(Protocol):
    """Pictures with their fields. `len()` and indexing give examples: {"image": uint8 "3 H W", field: value}.

    split: "train" or "validation" and others a data set documents. fields: what every example has besides
    "image". digest: names the content, not its place or time, so that caches are keyed by it. skipped: broken
    files left out.

    What a data set may offer besides:

    - `aligned(kinds: Mapping[str, FieldKind]) -> Dataset`, where it cuts its pictures or names files: the
      same examples with those fields as tensors cut as the picture is.
    - `view(index, fields=None, key=None)`: the example, or some of its fields without reading the others;
      `key` draws what is drawn at random, the crop only where "image" is among the fields. `drawn` names the
      fields that differ from key to key. Indexing draws nothing.
    - `buckets`: the indices of the examples of each shape, where pictures have several: batches have one.
    - `shown(index)`: the index of the example that stands in for one that turned out broken, else the same.
    - `picture_digest`: a digest of the pictures alone: data sets that differ in captions share latents.
    - `name(index) -> str`: how messages call an example. `notes`: lines for a person about the choice of
      pictures. `class_names`: a mapping of a field to what its classes are called, by id, for menus.
    - `contents`: a mapping of each example's name to a digest of all that it holds: messages then name what
      has changed since a training.
    """

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def digest(self) -> str: ...

    @property
    def skipped(self) -> Sequence[Path]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...

    def split(self, name: str) -> Dataset:
        """The examples of one split; ValueError names those there are."""


class Metric(Protocol):
    """One family of figures that `evaluate` reports."""

    def __call__(self, evaluation: Any) -> Mapping[str, Any]:
        """Figures by name, of what JSON can hold; `evaluation` is a `ldmkit.evaluation.Evaluation`."""


class KeyMap(Protocol):
    """Published names of one component's tensors in one format; an architecture brings its own.

    Registered under "FORMAT/COMPONENT NAME", as "compvis/unet" or "diffusers/kl-autoencoder".

    classes: the published classes that the component is in the format, by their full names; the first is the
    one that export names. A format finds the component of a configuration by the last part of these names.
    """

    classes: Sequence[str]

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The component's recipe parameters from the published configuration; ValueError where none fit."""

    def config(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The published configuration of a component; the reverse of `parameters`."""

    def load(self, tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
        """Published tensors (prefix removed) as the module's state dict; ValueError names every key left over
        or missing."""

    def save(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's state dict under published names; the reverse of `load`, bit for bit."""


KIND_OF: Mapping[type, str] = {
    CompressionModel: "compression",
    Regulariser: "regulariser",
    Conditioner: "conditioner",
    Denoiser: "denoiser",
    NoiseSchedule: "schedule",
    Spacing: "spacing",
    Objective: "objective",
    Guidance: "guidance",
    Sampler: "sampler",
    FeatureNetwork: "features",
    Loss: "loss",
    Adversary: "adversary",
    Optimizer: "optimizer",
    Auxiliary: "auxiliary",
    Distillation: "distillation",
    Callback: "callback",
    Adapter: "adapter",
    Dataset: "data",
    Metric: "metric",
    KeyMap: "keymap",
}
"""The registry's kind for each Protocol: how a nested component is recognised in a constructor."""
