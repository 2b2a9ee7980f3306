"""The tensors that ldmkit passes around, named once, with their shapes.

Letters: b pictures, c latent channels, h x w latent size, H x W picture size, l tokens, d token width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

Image: TypeAlias = Float[Tensor, "b 3 H W"]
"""Pictures in [-1, 1]."""
Latent: TypeAlias = Float[Tensor, "b c h w"]
Tokens: TypeAlias = Float[Tensor, "b l d"]
PerPicture: TypeAlias = Float[Tensor, " b"]
Pixels: TypeAlias = UInt8[Tensor, "n 3 H W"]
"""Pictures as bytes, 0 to 255: metrics measure what a person would look at."""
Prepared: TypeAlias = dict[str, Tensor]
"""What a conditioner makes of raw inputs without its weights: ids, one-hot maps, masks; batch first."""
Say: TypeAlias = Callable[[str], None]
"""Told a line for the user: `print`, `click.echo`, or one that keeps silent."""
NoiseSource: TypeAlias = Callable[[int], Latent]
"""`noise(i)` is the i-th draw of every picture, each from that picture's own generator."""


Outcome: TypeAlias = Literal["finished", "stopped", "failed"]
"""How a training ended: at its last step, saved after SIGTERM or Ctrl-C, or by an error."""


@dataclass(frozen=True)
class TrainingRun:
    """One process's share of a stage's training, as callbacks see it.

    recipe: the resolved recipe as plain values. stage: "compression", "diffusion" or an adapter's name.
    folder: the run's folder, in which a callback may write files under names of its own. step: the number of
    steps done so far. steps: the number of steps of the whole training.
    """

    recipe: Mapping[str, Any]
    stage: str
    folder: Path
    step: int
    steps: int


@dataclass(frozen=True)
class LatentSpec:
    """The shape of a compression model's latent.

    A picture "3 H W" becomes a latent "channels H/factor W/factor"; H and W in pixels.
    """

    channels: int
    factor: int


FieldKind: TypeAlias = Literal["text", "label", "picture", "map", "mask", "boxes", "sizes", "other"]
"""What a batch field holds for each picture: a caption; a class id; another picture; a map of class ids; a
mask (1 where the hole is); a list of objects (class, x, y, width, height), boxes in [0, 1]; six sizes, of
which the left of the cut is another one where the picture is mirrored (height and width before the picture
was resized and cut, top and left of the cut, height and width now); or anything else that does not change
where the picture is cut or mirrored."""


@dataclass(frozen=True)
class ConditionSpec:
    """What a conditioner reads and what it hands to the denoiser.

    fields: the batch fields that it reads. tokens: the width d of its tokens "b l d". concat: the number k of
    its channels "b k h w". vector: the width e of its vector "b e". A 0 means that it hands over none.

    kinds: what each field holds, so that data sets cut pictures, maps, masks and boxes as they cut the
    picture, training mirrors them with it, and prompts reach the text fields.
    """

    fields: tuple[str, ...]
    tokens: int = 0
    concat: int = 0
    vector: int = 0
    kinds: Mapping[str, FieldKind] = field(default_factory=dict, hash=False)

    def check(self, condition: Condition) -> None:
        """For a denoiser that was built for this spec: raises ValueError naming the first part of `condition`
        that is missing, not foreseen or of another width."""
        for name, axis in (("tokens", 2), ("concat", 1), ("vector", 1)):
            tensor, width = getattr(condition, name), getattr(self, name)
            given = 0 if tensor is None else tensor.shape[axis]
            if given != width:
                raise ValueError(f"condition.{name}: width {given} given, the denoiser was built for {width}")


@dataclass(frozen=True)
class Condition:
    """The output of a conditioner, tau_theta(y) in the paper (Rombach et al. 2022, section 3.3).

    tokens: what cross-attention attends to. mask: True where a token counts; without it all do. concat:
    channels that are joined to z_t, at the latent's size. vector: what is added to the time embedding. Absent
    parts are None; a part is known by its name and never guessed from a tensor's number of axes.
    """

    tokens: Float[Tensor, "b l d"] | None = None
    mask: Bool[Tensor, "b l"] | None = None
    concat: Float[Tensor, "b k h w"] | None = None
    vector: Float[Tensor, "b e"] | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Condition:
        """The condition with `function` applied to each tensor that is there."""
        parts = {name: getattr(self, name) for name in ("tokens", "mask", "concat", "vector")}
        return Condition(**{n: None if x is None else function(x) for n, x in parts.items()})

    def to(self, device: torch.device | str) -> Condition:
        """The condition on another device."""
        return self.map(lambda x: x.to(device))


Conditions: TypeAlias = Mapping[str, Condition]
"""Conditions by the id that the recipe gives them; merged only at the denoiser."""


@dataclass(frozen=True)
class Level:
    """A noise level: z_t = alpha z + sigma eps; `time` is the network's time input.

    The fields are 0-d, or one a picture ("b"), or one a step (a `Levels`, see `steps`); float64 where a
    schedule makes them.
    """

    alpha: Tensor
    sigma: Tensor
    time: Tensor

    @property
    def log_snr(self) -> Tensor:
        """log(alpha^2 / sigma^2); infinite at the ends of a schedule that reaches them."""
        return 2 * (self.alpha.log() - self.sigma.log())

    def __len__(self) -> int:
        return len(self.alpha)

    def __getitem__(self, i: Any) -> Level:
        return Level(self.alpha[i], self.sigma[i], self.time[i])

    def __iter__(self) -> Iterator[Level]:
        return (self[i] for i in range(len(self)))

    def map(self, function: Callable[[Tensor], Tensor]) -> Level:
        """The level with `function` applied to each of its fields."""
        return Level(function(self.alpha), function(self.sigma), function(self.time))

    def like(self, z: Latent) -> Level:
        """The level in `z`'s dtype and on its device.

        alpha and sigma get the shape "b 1 1 1", in which they multiply `z`; time gets the shape "b".
        """
        b = z.shape[0]
        shape = (b,) + (1,) * (z.ndim - 1)
        alpha, sigma = (x.to(z).expand(b).reshape(shape) for x in (self.alpha, self.sigma))
        return Level(alpha, sigma, self.time.to(z).expand(b))

    def add_noise(self, clean: Latent, noise: Latent) -> Latent:
        """z_t = alpha z + sigma eps (the paper's closed form of q(z_t | z_0))."""
        level = self.like(clean)
        return level.alpha * clean + level.sigma * noise


Levels: TypeAlias = Level
"""A `Level` whose fields have one entry a level: n + 1 of them for n steps, noisiest first."""


@dataclass(frozen=True)
class Estimate:
    """What the network predicts for a noised latent "b c h w", both as the clean latent and as the noise.

    Both have that shape. As both are there, no sampler has to divide by a sigma near 0.

    variance_range: for networks that learn the variance, the interpolation weight between log beta-tilde (0)
    and log beta (1) of the step, independent of its length (Nichol and Dhariwal 2021, equation 15).
    """

    clean: Latent
    noise: Latent
    variance_range: Latent | None = None


@dataclass(frozen=True)
class Posterior:
    """The distribution q(z | x) of the latent "b c h w" of each picture.

    mode: its most likely latent, scaled like the result of `CompressionModel.encode`. std: its standard
    deviation in the same scale; None where the posterior is a single point (VQ).

    penalty: the regulariser for each picture, unweighted (KL-reg: the sum over the latent, in nats; VQ-reg:
    the codebook loss, a mean). metrics: named scalars to log (usage, perplexity).
    """

    mode: Latent
    std: Latent | None
    penalty: PerPicture
    metrics: Mapping[str, Tensor] = field(default_factory=dict)

    def sample(self, noise: Latent) -> Latent:
        """The draw mode + std * noise, noise being standard normal "b c h w"; the mode where std is None."""
        return self.mode if self.std is None else self.mode + self.std * noise


@dataclass(frozen=True)
class Request:
    """The input of one sampler call, which guidance may read.

    conditions: encoded conditions. null: the null conditions, or the negative prompt's. raw: the user's
    inputs by field, also those that only guidance reads. decode: latent to picture, differentiable. seeds:
    one per picture. size: the pictures' (height, width); None: the recipe's.
    """

    conditions: Conditions
    null: Conditions
    raw: Mapping[str, Any] = field(default_factory=dict)
    decode: Callable[[Latent], Image] | None = None
    seeds: Sequence[int] = ()
    size: tuple[int, int] | None = None

    def replace(self, **changes: Any) -> Request:
        """A copy with some fields changed."""
        return replace(self, **changes)
